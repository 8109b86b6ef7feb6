"""Resumable training: what a training loop keeps between epochs, and its checkpoint file.

TrainingProgress         phase, epoch, early stopping and records
copy_tensors             a copy of the best weights so far
loading                  one line for a model that cannot be loaded
check_finite             refuse weights of a training that diverged
save_state, load_state   a nested structure with tensors as one file

A checkpoint is a safetensors file, without pickle: the tensors, and everything else as JSON in the header.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gavamoe.errors import InputError, RunError
from gavamoe.files import staged_file

Phase = TypeVar("Phase", str, int)


@dataclass
class TrainingProgress(Generic[Phase]):
    """Where a training in phases stands; `asdict` gives what a checkpoint keeps of it.

    Attributes:
        phase: the current phase, by name or by number.
        epoch: finished epochs of this phase.
        best: lowest validation objective of this phase.
        stale: epochs since `best`.
        history: one record for each finished epoch of all phases.
    """

    phase: Phase
    epoch: int = 0
    best: float = math.inf
    stale: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def improves(self, objective: float) -> bool:
        """Update early stopping with a validation objective; return whether it is the best of this phase."""
        if objective < self.best:
            self.best, self.stale = objective, 0
            return True
        self.stale += 1
        return False

    def phase_is_over(self, epochs: int, patience: int) -> bool:
        """Return whether this phase has run `epochs` epochs, or `patience` epochs without a better objective."""
        return self.epoch >= epochs or self.stale >= patience

    def start_phase(self, phase: Phase) -> None:
        """Go on to another phase: reset its epoch count and its early stopping, keep the records."""
        self.phase, self.epoch, self.best, self.stale = phase, 0, math.inf, 0


def copy_tensors(named: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return copies of named tensors that further training does not change."""
    return {name: tensor.detach().clone() for name, tensor in named}


def check_finite(named: Iterable[tuple[str, torch.Tensor]], where: Path) -> None:
    """Raise `RunError` if a weight that was read from `where` is not a finite number."""
    for name, tensor in named:
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise RunError(
                f"{where} has weights that are not finite numbers ({name}): its training diverged, or the file is "
                "damaged; train again with a lower learning rate"
            )


@contextmanager
def loading(path: Path) -> Iterator[None]:
    """Guard the code that loads a model of a run.

    Raises:
        RunError: loading failed, so a file is damaged, or the model asks to run code of its own. An `InputError` passes
            unchanged.
    """
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        if "trust_remote_code" in str(error):
            raise RunError(
                f"the run {path} asks to run code of its own, which gavamoe never does; do not use it"
            ) from None
        raise RunError(f"{path} is damaged: {' '.join(str(error).split())}; copy the whole run again") from None


def save_state(path: Path, state: Any) -> None:
    """Write a nested structure of dicts, lists, numbers, strings and tensors; an interrupted write leaves no file."""
    tensors: dict[str, torch.Tensor] = {}
    layout = _pack(state, tensors)
    with staged_file(path) as staged:
        save_file(tensors, staged, metadata={"layout": json.dumps(layout)})


def load_state(path: Path) -> Any:
    """Read what `save_state` wrote; tuples come back as lists.

    Raises:
        RunError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            return _unpack(json.loads(file.metadata()["layout"]), tensors)
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"the checkpoint {path} is damaged ({error}); delete it to start this stage anew") from None


def _pack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Return the structure as JSON values, with each tensor moved to `tensors` and replaced with its name."""
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().clone().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):  # as pairs: an optimizer's state has integer keys, which JSON would turn into text
        return {"dict": [[key, _pack(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_pack(item, tensors) for item in value]}
    return {"value": value}


def _unpack(layout: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Return the structure that `_pack` turned into JSON."""
    ((kind, content),) = layout.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in content}
    if kind == "list":
        return [_unpack(item, tensors) for item in content]
    return content
