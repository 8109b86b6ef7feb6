"""How training uses the machine: device and precision, the processes that train together, and what they exchange.

device and precision    default_device, use_bf16, cpu_prefers_bf16
process topology        world_size, rank, is_main_process, main_process_first
all-reduce              all_reduce_sum, all_reduce_value, sum_gradients, broadcast_model

Every function also works in a single process without a process group; the exchanges then do nothing.
Shape suffixes: B rows of a batch, E embedding.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, gather, reduce
from torch import Tensor, distributed, nn

# Other processes wait while the main process trains stage 1. A collective's default limit is half an hour.
WAIT_LIMIT = timedelta(days=7)
# On a CPU. Measured at 192, where bf16 is slower than float32, and at 576, where it is faster.
MIN_BF16_WIDTH = 512


def default_device() -> str:
    """Return the device to use when none is named: the GPU if there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def use_bf16(precision: str, width: int = 0) -> bool:
    """Return whether to train in bf16.

    Args:
        precision: `bf16`, `fp32`, or `auto`: bf16 on a GPU that supports it, and on a CPU with instructions for it if
            the model is wide. A narrow model loses more by the casts between the precisions than its products gain.
        width: H of a model around a frozen base; 0 for other models, for which bf16 on a CPU was not measured.
    """
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return cpu_prefers_bf16(width)


def cpu_prefers_bf16(width: int) -> bool:
    """Return whether a model of this width is faster on the CPU in bf16 than in float32: only with instructions for it.

    Args:
        width: H, the model's.
    """
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # newer than torch 2.11
    return width >= MIN_BF16_WIDTH and any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def world_size() -> int:
    """Return the number of processes that train together (torchrun, accelerate launch); 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return the number of this process, counted from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main_process() -> bool:
    """Return whether this process writes files and prints; the other processes only compute."""
    return rank() == 0


@contextmanager
def main_process_first() -> Iterator[bool]:
    """Run the block in the main process, then in all others.

    Yields:
        Whether this process is the main process.
    """
    if world_size() == 1:
        yield True
        return
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=WAIT_LIMIT)
    with state.main_process_first():
        yield state.is_main_process


def all_reduce_sum(statistic: Tensor) -> Tensor:
    """Return the sum of a tensor over the processes, without gradient; the tensor itself without a process group."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return statistic
    summed = statistic.detach().clone()
    distributed.all_reduce(summed)
    return summed


def all_reduce_value(value: float, device: torch.device) -> float:
    """Return the sum of a number over the processes.

    Args:
        value: this process's number.
        device: where the process group exchanges tensors: the device of the model.
    """
    return value if world_size() == 1 else float(reduce(torch.tensor(value, dtype=torch.float64, device=device), "sum"))


def broadcast_model(model: nn.Module) -> None:
    """Copy the main process's weights to all processes.

    Each process fits its own SVD and mixture, and these may differ in the last bits.
    """
    if world_size() == 1:
        return
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(broadcast(tensor))


def sum_gradients(dense: Iterable[nn.Parameter], tables: Iterable[nn.Embedding]) -> None:
    """Replace each gradient with its sum over the processes.

    Args:
        dense: parameters with dense gradients; these travel as one tensor.
        tables: embeddings with sparse gradients; only the rows that a process used travel.
    """
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in dense if parameter.grad is not None]
    total = reduce(torch.cat([gradient.flatten() for gradient in gradients]), "sum")
    for gradient, part in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
    for table in tables:
        table.weight.grad = _gather_sparse(table.weight.grad, table.padding_idx or 0)


def _gather_sparse(gradient: Tensor | None, padding: int) -> Tensor | None:
    """Concatenate the sparse gradients of all processes; an index may repeat, and `coalesce` sums its rows."""
    if gradient is None:
        return None
    row_B, value_BE = gradient._indices()[0], gradient._values()
    longest = int(gather(torch.tensor([len(row_B)], device=row_B.device)).max())
    missing = longest - len(row_B)  # gather needs equal lengths; zeros at the padding row change nothing
    row_B = torch.cat([row_B, row_B.new_full((missing,), padding)])
    value_BE = torch.cat([value_BE, value_BE.new_zeros(missing, value_BE.shape[1])])
    return torch.sparse_coo_tensor(gather(row_B)[None], gather(value_BE), gradient.shape, check_invariants=False)
