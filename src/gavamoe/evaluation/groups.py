"""Metrics by group of rows: by the user's number of training reviews, by cluster, by rating."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gavamoe.evaluation.row_scores import RowScores

COLD = "cold"
SPARSITY = "training reviews of the user"  # name of the grouping in results
ITEM_SPARSITY = "training reviews of the item"
TRAINING_REVIEWS = "training_reviews"  # column of predictions.jsonl that the grouping is computed from
NUM_GROUPS = 5

# {grouping: {group: {"n": rows, "metrics": {...}}}}; Any: an int or a dict of metrics.
Groups = dict[str, dict[str, dict[str, Any]]]


def by_group(scores: RowScores, labels: Sequence[Hashable | None]) -> dict[str, dict[str, Any]]:
    """Compute every metric on each group of rows.

    Args:
        scores: row statistics of n rows.
        labels: the group of each row, [n]; None for a row in no group.

    Returns:
        {label: {"n": rows, "metrics": {...}}}, ordered by number, by the start of a range such as "4-9", or by name;
        "cold" comes first.
    """
    names = [None if label is None else _name(label) for label in labels]
    order = {name: _order(label) for name, label in zip(names, labels, strict=True) if name is not None}
    places = {group: place for place, group in enumerate(sorted(order, key=order.__getitem__))}
    column = np.array([-1 if name is None else places[name] for name in names])
    return {
        group: {
            "n": int((column == place).sum()),
            "metrics": scores.weighted((column == place).astype(float)),
        }
        for group, place in places.items()
    }


def _name(label: Hashable) -> str:
    """Return a label as results print it; labels that print alike, such as .3 and .1 + .2, are one group."""
    return f"{label:g}" if isinstance(label, float) else str(label)


@dataclass(frozen=True)
class SparsityGroups:
    """Groups of users by their number of training reviews: up to five of about equal size, and "cold" (no reviews).

    Users with the same count are always in the same group, so there are fewer groups if many users have few reviews.

    Args:
        highest: the largest count of each group, increasing.
    """

    highest: tuple[int, ...]

    @classmethod
    def fit(cls, counts: Sequence[int] | np.ndarray) -> SparsityGroups:
        """Choose the groups from the number of training reviews of each training user, [users]."""
        shares = np.arange(1, NUM_GROUPS + 1) / NUM_GROUPS
        edges = np.quantile(np.asarray(counts), shares, method="inverted_cdf")
        return cls(tuple(sorted({int(edge) for edge in edges})))

    def labels(self, counts: Sequence[int]) -> list[str]:
        """Return the group for each number of training reviews, such as "cold", "1-2", "3", "40+"."""
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
    """Return a label's sort key: "cold" first, numbers by size, ranges such as "4-9" by their start, then names."""
    if isinstance(label, int | float):
        return float(label), ""
    start = str(label).rstrip("+").split("-")[0]
    return (-1.0 if label == COLD else float(start) if start.isdecimal() else np.inf), str(label)
