"""Compute a batch of random rows in parts of similar length, so that little of the computation is padding.

The rows of a step are drawn at random, because steps of similar lengths train a worse model (docs/lab-log.md, "Rows of
a step"). Padded to the longest row, such a batch has 1.6 to 2.7 times the positions of its rows. Sorted by length and
divided, it has fewer. Each further part costs the time of starting another forward and backward pass.

Shape suffixes: B rows of a batch, S positions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gavamoe.distributed import all_reduce_sum

PARTS = (1, 2, 4, 8)
# Positions that take as long as starting another pass. A GPU computes thousands in the time of its launches.
START_COST = {"cpu": 128, "cuda": 8_192}

Batch = dict[str, Tensor]


def split_by_length(batch: Batch, cost: int, device: torch.device) -> list[Batch]:
    """Divide a batch into the number of parts (`PARTS`) that computes fewest positions, the starts of parts included.

    All processes of a distributed training divide their batches into the same number of parts.

    Args:
        batch: tensors [B] and right-padded tensors [B, S], among them `attention_mask`.
        cost: positions that take as long as starting another part.
        device: where processes exchange tensors.

    Returns:
        The parts, shortest rows first; the batch itself as it is if one part is best.
    """
    length_B = np.array(batch["attention_mask"].sum(1).tolist())
    order_B = length_B.argsort(kind="stable")
    divisions = [np.array_split(order_B, count) for count in PARTS if count <= len(order_B)]
    costs = [sum(len(part) * length_B[part[-1]] + cost for part in parts) for parts in divisions]
    best = int(all_reduce_sum(torch.tensor(costs, device=device)).argmin())
    if len(divisions[best]) == 1:
        return [batch]
    return [_rows(batch, torch.from_numpy(part), int(length_B[part[-1]])) for part in divisions[best]]


def _rows(batch: Batch, row_B: Tensor, longest: int) -> Batch:
    """Return some rows of a batch, padded to the longest of them."""
    rows = {name: tensor[row_B.to(tensor.device)] for name, tensor in batch.items()}
    return {name: tensor[:, :longest] if tensor.dim() > 1 else tensor for name, tensor in rows.items()}
