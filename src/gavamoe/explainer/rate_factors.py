"""Learning rates of the gates and of the soft tokens' vectors, as factors of the learning rate.

From scratch, gates learn slowly and vectors fast ("Learning rates of gates and vectors" in docs/lab-log.md):

- A gate that learns as fast as its experts may send a word to other experts in each step (routing fluctuation;
  StableMoE, Dai et al. 2022). This cause was not measured.
- A vector has a gradient only in the steps with a review of its user or item, which are few.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import Optimizer

from gavamoe.moe.gate import ClusterGate
from gavamoe.preference.id_table import IdTable


def set_rate_factors(optimizer: Optimizer, model: nn.Module, gates: float, vectors: float) -> None:
    """Give the gates and the soft tokens' vectors parameter groups with learning rates of their own.

    The weight decay of a group is divided by its factor. So a step shrinks all weights by the same share.

    Args:
        optimizer: a new optimizer of the model's parameters, changed in place, before a scheduler reads its rates.
        model: stage 2, wrapped or not.
        gates: factor of the gates' learning rate.
        vectors: factor of the vectors' learning rate.
    """
    for kind, factor in ((ClusterGate, gates), (IdTable, vectors)):
        if factor != 1:
            parts = (module for module in model.modules() if isinstance(module, kind))
            _move(optimizer, [parameter for part in parts for parameter in part.parameters()], factor)


def _move(optimizer: Optimizer, parameters: Iterable[nn.Parameter], factor: float) -> None:
    """Move parameters to groups with the settings of their groups and `factor` times their learning rate."""
    chosen = {id(parameter) for parameter in parameters}
    for group in list(optimizer.param_groups):
        moved = [parameter for parameter in group["params"] if id(parameter) in chosen]
        if moved:
            group["params"] = [parameter for parameter in group["params"] if id(parameter) not in chosen]
            rates = {"lr": factor * group["lr"], "weight_decay": group["weight_decay"] / factor}
            optimizer.add_param_group({**group, **rates, "params": moved})
