"""Reviews as token ids, and some of them as tensors.

Shape suffixes: N rows, B batch, T text tokens with the end token, F feature tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B pairs as tensors.

    user_B, item_B: 0 where unknown. level_B: the rating the input may state, 1..R, 0 where withheld. feature_BF: its
    tokens, padded. rating_B: the true level, what is to be predicted. text_BT: the explanation's tokens and the end,
    IGNORED after it.
    """

    user_B: Tensor
    item_B: Tensor
    level_B: Tensor
    feature_BF: Tensor
    rating_B: Tensor
    text_BT: Tensor

    def __len__(self) -> int:
        return len(self.user_B)

    def to(self, device: torch.device | str) -> Batch:
        """On another device."""
        return Batch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class EncodedReviews:
    """Reviews of a split: ids and levels int64 [N], features and texts as token ids."""

    user_N: np.ndarray
    item_N: np.ndarray
    level_N: np.ndarray
    features: Sequence[list[int]]
    texts: Sequence[list[int]]

    def __len__(self) -> int:
        return len(self.user_N)

    @property
    def tokens(self) -> int:
        """Scored tokens."""
        return sum(map(len, self.texts))


def padded(rows: Sequence[Sequence[int]], value: int, width: int = 0, left: bool = False) -> Tensor:
    """Lists of ids to int64 [rows, width or the longest]; longer ones are cut."""
    width = width or max((len(row) for row in rows), default=0)
    filled = np.full((len(rows), width), value, dtype=np.int64)
    for place, row in enumerate(rows):
        kept = list(row)[:width]
        filled[place, width - len(kept) if left else 0 : width if left else len(kept)] = kept
    return torch.from_numpy(filled)
