"""Search of users and items by prefix, most reviewed first."""

from __future__ import annotations

import heapq
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

LAST = chr(0x10FFFF)


class PrefixIndex:
    """Finds ids whose names start with a prefix; upper and lower case, and Unicode forms of a letter, are equal.

    Args:
        names: a list of names for each id; an id may have several (an item: its name and title), None is no name.
        reviews: number of reviews by id, [n].
    """

    def __init__(self, names: Sequence[Sequence[str | None]], reviews: np.ndarray):
        self.reviews = reviews
        entries = [(_folded(name), number) for number, all_names in enumerate(names) for name in all_names if name]
        entries.sort()
        self._names = [name for name, _ in entries]
        self._ids = [number for _, number in entries]
        self._busiest = np.argsort(-reviews, kind="stable")

    def find(self, prefix: str, limit: int) -> list[int]:
        """Return up to `limit` ids, most reviews first."""
        if not prefix:
            return self._busiest[:limit].tolist()
        folded = _folded(prefix)
        start, end = bisect_left(self._names, folded), bisect_left(self._names, folded + LAST)
        found = set(self._ids[start:end])
        return heapq.nsmallest(limit, found, key=lambda number: (-self.reviews[number], number))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
