"""Stage 1 in several processes (torchrun, accelerate launch): each takes its part of every batch, and the sums agree.

Every process draws the whole batch's random numbers and uses its part of them, so that their count changes the order of
summation and nothing else. With one process nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from accelerate.utils import broadcast, gather, reduce
from torch import Tensor, nn

from gavamoe.runtime import processes


def same_everywhere(model: nn.Module) -> None:
    """Give all processes the leader's weights: what was fitted on each may differ in the last bits."""
    if processes() == 1:
        return
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(broadcast(tensor))


def sum_gradients(dense: Iterable[nn.Parameter], tables: Iterable[nn.Embedding]) -> None:
    """Replace each gradient with its sum over the processes; of the tables only the rows that were touched travel."""
    if processes() == 1:
        return
    gradients = [parameter.grad for parameter in dense if parameter.grad is not None]
    total = reduce(torch.cat([gradient.flatten() for gradient in gradients]), "sum")
    for gradient, part in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
    for table in tables:
        table.weight.grad = _gathered(table.weight.grad, table.padding_idx or 0)


def sum_of(value: float, device: torch.device) -> float:
    """The sum of a number over the processes, which talk where their models are."""
    return value if processes() == 1 else float(reduce(torch.tensor(value, dtype=torch.float64, device=device), "sum"))


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
