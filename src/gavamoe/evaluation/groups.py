"""Metrics by group of rows: by how much is known of the user, by cluster, by rating."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gavamoe.evaluation.row_scores import RowScores

COLD = "cold"
SPARSITY = "training reviews of the user"  # the grouping
TRAINING_REVIEWS = "training_reviews"  # the column of predictions that it is made from
GROUPS = 5


# {grouping: {group: {"n": rows, "metrics": {...}}}}
Groups = dict[str, dict[str, dict[str, Any]]]


def by_group(scores: RowScores, labels: Sequence[Hashable | None]) -> dict[str, dict[str, Any]]:
    """{label: {"n": rows, "metrics": {...}}} in the order of the labels; rows labelled None are in no group."""
    kinds = sorted({label for label in labels if label is not None}, key=_order)
    column = np.array([kinds.index(label) if label is not None else -1 for label in labels])
    return {
        f"{kind:g}" if isinstance(kind, float) else str(kind): {
            "n": int((column == place).sum()),
            "metrics": scores.on((column == place).astype(float)),
        }
        for place, kind in enumerate(kinds)
    }


@dataclass(frozen=True)
class SparsityGroups:
    """Users by their number of training reviews: five groups of about as many users, and the cold.

    Users with the same count are never parted, so where many have few reviews there are fewer groups.

    Args:
        highest: the largest count of each group, increasing.
    """

    highest: tuple[int, ...]

    @classmethod
    def fit(cls, counts: Sequence[int] | np.ndarray) -> SparsityGroups:
        """From the number of training reviews of each training user."""
        shares = np.arange(1, GROUPS + 1) / GROUPS
        edges = np.quantile(np.asarray(counts), shares, method="inverted_cdf")
        return cls(tuple(sorted({int(edge) for edge in edges})))

    def labels(self, counts: Sequence[int]) -> list[str]:
        """The group of a user with so many training reviews, such as "cold", "1-2", "3", "40+"."""
        places = np.searchsorted(self.highest, counts)
        return [
            COLD if count == 0 else self._label(min(place, len(self.highest) - 1))
            for count, place in zip(counts, places.tolist(), strict=True)
        ]

    def _label(self, place: int) -> str:
        low = self.highest[place - 1] + 1 if place else 1
        if place == len(self.highest) - 1:
            return f"{low}+"
        return f"{low}-{self.highest[place]}" if low < self.highest[place] else str(low)


def _order(label: Hashable) -> tuple[float, str]:
    """Numbers by size, the cold first, then groups such as "4-9" by where they start, then names."""
    if isinstance(label, int | float):
        return float(label), ""
    start = str(label).rstrip("+").split("-")[0]
    return (-1.0 if label == COLD else float(start) if start.isdigit() else np.inf), str(label)
