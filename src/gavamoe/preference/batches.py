"""Interactions as training reads them: arrays that may lie on disk, of which only what a step needs is in memory.

Shape suffixes: N interactions, B batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gavamoe.data.dataset import InteractionArrays
from gavamoe.preference.networks import UNKNOWN

# Rows that lie together are read together: a block at a time from disk, and as many blocks shuffled as one as fit well
# in memory. A split of up to BLOCK * POOL rows is shuffled as a whole.
BLOCK, POOL = 65_536, 16
CHUNK = 65_536  # pairs a pass that learns nothing takes at once


@dataclass(frozen=True)
class Batch:
    """Pairs of ids (0 unknown) with their level counted from 0, int64 [B] each."""

    user_B: Tensor
    item_B: Tensor
    level_B: Tensor

    def __len__(self) -> int:
        return len(self.user_B)

    def shard(self, first: int, step: int) -> Batch:
        """Every `step`-th pair from `first`."""
        return Batch(self.user_B[first::step], self.item_B[first::step], self.level_B[first::step])

    def to(self, device: torch.device) -> Batch:
        """On that device."""
        return Batch(self.user_B.to(device), self.item_B.to(device), self.level_B.to(device))

    def drop_ids(self, rate: float) -> Batch:
        """With ids turned into the unknown at random, so that its vector means 'someone', and not its random start."""
        user_B, item_B = (
            torch.where(torch.rand(id_B.shape) < rate, UNKNOWN, id_B) for id_B in (self.user_B, self.item_B)
        )
        return Batch(user_B, item_B, self.level_B)


class Interactions:
    """A split's columns, in memory or memory-mapped; nothing here copies more of them than it gives out."""

    def __init__(self, arrays: InteractionArrays):
        self.columns = (arrays.user_id, arrays.item_id, arrays.level)

    def __len__(self) -> int:
        return len(self.columns[0])

    def counts(self, users: int, items: int) -> tuple[Tensor, Tensor]:
        """Interactions of each user [users + 1] and of each item [items + 1]."""
        totals = [np.zeros(rows + 1, np.int64) for rows in (users, items)]
        for start in range(0, len(self), BLOCK * POOL):
            for total, column in zip(totals, self.columns, strict=False):
                total += np.bincount(column[start : start + BLOCK * POOL], minlength=len(total))
        return torch.from_numpy(totals[0]), torch.from_numpy(totals[1])

    def chunks(self, size: int = CHUNK) -> Iterator[Batch]:
        """All of them in order."""
        for start in range(0, len(self), size):
            yield self._batch([column[start : start + size] for column in self.columns])

    def shuffled(self, size: int) -> Iterator[Batch]:
        """All of them in batches of `size`, in an order drawn from torch's random state."""
        for pool in torch.randperm(-(-len(self) // BLOCK)).split(POOL):
            starts = [int(block) * BLOCK for block in pool]
            whole = self._batch([np.concatenate([c[s : s + BLOCK] for s in starts]) for c in self.columns])
            for index_B in torch.randperm(len(whole)).split(size):
                yield Batch(whole.user_B[index_B], whole.item_B[index_B], whole.level_B[index_B])

    def sample(self, at_most: int) -> Batch:
        """All of them, or every so-manieth where they are more than `at_most`."""
        step = -(-len(self) // at_most)
        return self._batch([column[::step] for column in self.columns])

    @staticmethod
    def _batch(columns: list[np.ndarray]) -> Batch:
        user_B, item_B, level_B = (torch.from_numpy(column.astype(np.int64)) for column in columns)
        return Batch(user_B, item_B, level_B - 1)
