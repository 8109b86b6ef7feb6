"""How this process uses the machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate.utils import broadcast, gather, reduce
from torch import Tensor, distributed, nn


def default_device() -> str:
    """Where to run when nobody says: the GPU, where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def use_bf16(precision: str) -> bool:
    """Whether to train in bf16: `auto` says yes on a GPU that has it, and no on a CPU.

    Measured: AVX512-bf16 multiplies faster, but at these sizes the casts and the backward's layouts eat the gain.
    """
    import torch

    if precision != "auto":
        return precision == "bf16"
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def world_size() -> int:
    """How many processes train together (torchrun, accelerate launch); 1 without."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of the processes this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main_process() -> bool:
    """Whether this process is the one that writes and speaks; the others only compute."""
    return rank() == 0


@contextmanager
def main_process_first() -> Iterator[bool]:
    """Yield whether this process leads; the others begin the block when the leader has finished it."""
    if world_size() == 1:
        yield True
        return
    import torch
    from accelerate import PartialState

    # The others wait through all of stage 1: longer than the half hour that a collective may take by default.
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=7))
    with state.main_process_first():
        yield state.is_main_process


def all_reduce_sum(statistic: Tensor) -> Tensor:
    """The sum of a statistic over the processes that train together; itself where there is one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return statistic
    summed = statistic.detach().clone()
    distributed.all_reduce(summed)
    return summed


def broadcast_model(model: nn.Module) -> None:
    """Give all processes the leader's weights: what was fitted on each may differ in the last bits."""
    if world_size() == 1:
        return
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(broadcast(tensor))


def sum_gradients(dense: Iterable[nn.Parameter], tables: Iterable[nn.Embedding]) -> None:
    """Replace each gradient with its sum over the processes; of the tables only the rows that were touched travel."""
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in dense if parameter.grad is not None]
    total = reduce(torch.cat([gradient.flatten() for gradient in gradients]), "sum")
    for gradient, part in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
    for table in tables:
        table.weight.grad = _gathered(table.weight.grad, table.padding_idx or 0)


def all_reduce_value(value: float, device: torch.device) -> float:
    """The sum of a number over the processes, which talk where their models are."""
    return value if world_size() == 1 else float(reduce(torch.tensor(value, dtype=torch.float64, device=device), "sum"))


def _gathered(gradient: Tensor | None, padding: int) -> Tensor | None:
    """The sparse gradients of all processes side by side; `coalesce` would sum them."""
    if gradient is None:
        return None
    row_B, value_BE = gradient._indices()[0], gradient._values()
    longest = int(gather(torch.tensor([len(row_B)], device=row_B.device)).max())
    spare = longest - len(row_B)  # only rows of equal count can be gathered; the padding row learns nothing
    row_B = torch.cat([row_B, row_B.new_full((spare,), padding)])
    value_BE = torch.cat([value_BE, value_BE.new_zeros(spare, value_BE.shape[1])])
    return torch.sparse_coo_tensor(gather(row_B)[None], gather(value_BE), gradient.shape, check_invariants=False)
