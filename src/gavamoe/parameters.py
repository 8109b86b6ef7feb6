"""Number of parameters of models: the one place that counts them, for summaries, plans and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def num_parameters(*modules: nn.Module, only_trainable: bool = False, containing: Sequence[str] = ("",)) -> int:
    """Return the number of parameters of all modules; a parameter that a module uses twice counts once.

    Args:
        modules: the modules.
        only_trainable: whether to leave out frozen parameters.
        containing: count a parameter if its dotted name, with a dot in front, contains one of these. The default
            counts all.
    """
    return sum(
        parameter.numel()
        for module in modules
        for name, parameter in module.named_parameters()
        if (parameter.requires_grad or not only_trainable) and any(part in f".{name}" for part in containing)
    )
