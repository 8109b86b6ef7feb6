"""Batches of interactions from arrays in memory or memory-mapped on disk; each batch copies only its own rows.

Shape suffixes: N interactions, B batch, T units of a review, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gavamoe.data.dataset import InteractionArrays
from gavamoe.preference.networks import UNKNOWN

# A read from disk takes BLOCK neighbouring rows. POOL blocks are in memory at once and are shuffled together, so a
# split of up to BLOCK * POOL rows is shuffled as a whole.
BLOCK, POOL = 65_536, 16
CHUNK = 65_536  # pairs at once in a pass without gradients


@dataclass(frozen=True)
class Batch:
    """Interactions as int64 tensors.

    Attributes:
        user_B: user ids; 0 is the unknown user.
        item_B: item ids; 0 is the unknown item.
        level_B: rating levels, counted from 0.
        unit_BT: ids of the units of the texts, 0 is padding; None where stage 1 does not read.
    """

    user_B: Tensor
    item_B: Tensor
    level_B: Tensor
    unit_BT: Tensor | None = None

    def __len__(self) -> int:
        return len(self.user_B)

    def shard(self, first: int, step: int) -> Batch:
        """Return every `step`-th interaction, starting at `first`: the share of one process."""
        return self.rows(slice(first, None, step))

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        unit_BT = None if self.unit_BT is None else self.unit_BT.to(device)
        return Batch(self.user_B.to(device), self.item_B.to(device), self.level_B.to(device), unit_BT)

    def rows(self, index: Tensor | slice) -> Batch:
        """Return some of the interactions."""
        unit_BT = None if self.unit_BT is None else self.unit_BT[index]
        return Batch(self.user_B[index], self.item_B[index], self.level_B[index], unit_BT)

    @property
    def units(self) -> Tensor:
        """The units of the texts, [B, T].

        Raises:
            ValueError: the interactions have none.
        """
        if self.unit_BT is None:
            raise ValueError("the interactions have no units of texts")
        return self.unit_BT

    def drop_ids(self, rate: float) -> Batch:
        """Return the batch with a random share `rate` of its ids replaced with the unknown id 0.

        This trains the model to predict for an unknown user or item.
        """
        user_B, item_B = (
            torch.where(torch.rand(id_B.shape) < rate, UNKNOWN, id_B) for id_B in (self.user_B, self.item_B)
        )
        return Batch(user_B, item_B, self.level_B, self.unit_BT)


class Interactions:
    """The interactions of one split.

    Args:
        arrays: columns of user ids, item ids and levels from 1, in memory or memory-mapped.

    Attributes:
        units: units of the texts, [N, T]; None where stage 1 does not read.
    """

    def __init__(self, arrays: InteractionArrays):
        self.units = arrays.units
        self.columns = [arrays.user_id, arrays.item_id, arrays.level]
        if arrays.units is not None:
            self.columns.append(arrays.units)

    def __len__(self) -> int:
        return len(self.columns[0])

    def counts(self, users: int, items: int) -> tuple[Tensor, Tensor]:
        """Return the number of interactions of each user [users + 1] and of each item [items + 1]."""
        totals = [np.zeros(rows + 1, np.int64) for rows in (users, items)]
        for start in range(0, len(self), BLOCK * POOL):
            for total, column in zip(totals, self.columns, strict=False):
                total += np.bincount(column[start : start + BLOCK * POOL], minlength=len(total))
        return torch.from_numpy(totals[0]), torch.from_numpy(totals[1])

    def unit_counts(self, vocabulary: int) -> Tensor:
        """Return how many reviews have each unit, [V]; the ids of units count from 1."""
        if self.units is None:
            return torch.zeros(vocabulary)
        return torch.from_numpy(np.bincount(self.units.ravel(), minlength=vocabulary + 1)[1:]).float()

    def chunks(self, size: int = CHUNK) -> Iterator[Batch]:
        """Yield all interactions in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self._batch([column[start : start + size] for column in self.columns])

    def shuffled(self, size: int) -> Iterator[Batch]:
        """Yield all interactions in batches of `size`, in an order drawn from torch's random state."""
        for pool in torch.split(torch.randperm(-(-len(self) // BLOCK)), POOL):
            starts = [int(block) * BLOCK for block in pool]
            rows = self._batch([np.concatenate([c[s : s + BLOCK] for s in starts]) for c in self.columns])
            for index_B in torch.split(torch.randperm(len(rows)), size):
                yield rows.rows(index_B)

    def sample(self, at_most: int) -> Batch:
        """Return all interactions, or every k-th one if there are more than `at_most`."""
        step = -(-len(self) // at_most)
        return self._batch([column[::step] for column in self.columns])

    @staticmethod
    def _batch(columns: list[np.ndarray]) -> Batch:
        user_B, item_B, level_B = (torch.from_numpy(column.astype(np.int64)) for column in columns[:3])
        return Batch(user_B, item_B, level_B - 1, *(torch.from_numpy(np.array(units)) for units in columns[3:]))
