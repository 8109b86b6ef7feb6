"""A table of vectors by id in which rare ids share rows, so that its size does not grow with them.

    id --row_N--> row --weight--> vector

The ids with the most reviews have a row of their own. The others share a tenth of the rows by a hash of their id
(the hashing trick, Weinberger et al. 2009). With a row for each id there is no `row_N`.
Shape suffixes: N and M ids with the unknown, B ids of a batch, W width of a vector.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

SHARED = 0.1  # share of the rows that rare ids share
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: multiplication spreads consecutive ids (Knuth)


class IdTable(nn.Embedding):
    """An embedding table whose ids may share rows; row 0 belongs to the unknown id.

    Args:
        ids: N, number of ids with the unknown.
        width: W, dimensions of a vector.
        rows: number of rows without that of the unknown; None gives each id its own.
        zero_unknown: whether the unknown id's row is 0 and is not trained.
        sparse: whether gradients are sparse.

    Attributes:
        ids: N.
        row_N: the row of each id, int32; None if each id has its own.
    """

    row_N: Tensor | None

    def __init__(self, ids: int, width: int, rows: int | None = None, zero_unknown: bool = False, sparse: bool = False):
        super().__init__(
            ids if rows is None else rows + 1, width, padding_idx=0 if zero_unknown else None, sparse=sparse
        )
        self.ids = ids
        self.register_buffer("row_N", None if rows is None else torch.zeros(ids, dtype=torch.int32))

    @property
    def has_rows(self) -> bool:
        """Whether it is known which row each id has."""
        return self.row_N is None or bool(self.row_N.any())

    def set_rows(self, row_N: Tensor) -> None:
        """Set the row of each id, int32 [N], of a table whose ids share rows."""
        assert self.row_N is not None
        self.row_N.copy_(row_N)

    def save_rows(self, saved: bool) -> None:
        """Set whether the rows of ids are part of the state dict; they are unless this says otherwise."""
        if self.row_N is not None:
            self.register_buffer("row_N", self.row_N, persistent=saved)

    def rows(self, id_B: Tensor) -> Tensor:
        """Return the row of each id, [B]."""
        return id_B if self.row_N is None else self.row_N[id_B].long()

    def forward(self, id_B: Tensor) -> Tensor:
        """Return the vector of each id, [B, W]."""
        return super().forward(self.rows(id_B))


def share_rows(count_N: np.ndarray, rows: int) -> Tensor:
    """Return the row of each id, int32 [N]: own rows for the most frequent ids, shared rows for the others.

    Args:
        count_N: training reviews of each id; that of the unknown id 0 is ignored.
        rows: number of rows without that of the unknown; fewer than there are ids.
    """
    shared = shared_rows(rows)
    ids = np.arange(1, len(count_N))
    by_count = ids[np.argsort(-count_N[1:], kind="stable")]
    row_N = np.zeros(len(count_N), dtype=np.int32)
    row_N[1:] = 1 + hash_ids(ids, shared)
    row_N[by_count[: rows - shared]] = np.arange(1 + shared, 1 + rows)
    return torch.from_numpy(row_N)


def extend_rows(row_N: Tensor, old_M: np.ndarray, rows: int) -> Tensor:
    """Return the row of each id of newer data, int32 [M]: known ids keep theirs, new ids share rows.

    Args:
        row_N: the row of each older id.
        old_M: the older id of each newer one; 0 where it is new.
        rows: number of rows without that of the unknown.
    """
    hashed_M = 1 + hash_ids(np.arange(len(old_M)), shared_rows(rows))
    hashed_M[0] = 0
    return torch.from_numpy(np.where(old_M > 0, row_N.numpy()[old_M], hashed_M).astype(np.int32))


def shared_rows(rows: int) -> int:
    """Return how many of a table's rows, without that of the unknown, are shared. They are the first ones."""
    return max(int(rows * SHARED), 1)


def hash_ids(ids: np.ndarray, buckets: int) -> np.ndarray:
    """Return a bucket for each id, from 0."""
    high = (ids.astype(np.uint64) * _ODD) >> np.uint64(32)
    return (high % np.uint64(buckets)).astype(np.int64)
