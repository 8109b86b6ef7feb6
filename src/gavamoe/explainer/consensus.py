"""Of several drafts of a text, the one that agrees most with the others.

Minimum Bayes risk decoding (Eikema & Aziz 2020): a likely text may be unlike all others, and a single draw may be an
odd one; what most drafts say in much the same words is what the model holds to be so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import TypeVar

import numpy as np

Counted = TypeVar("Counted")


def most_agreed(drafts: Sequence[Sequence[int]]) -> int:
    """Which of the drafts (token ids) shares most with the others: F1 of tokens plus F1 of pairs of neighbours."""
    tokens, neighbours = [Counter(draft) for draft in drafts], [Counter(pairwise(draft)) for draft in drafts]
    agreement = np.zeros(len(drafts))
    for first, second in combinations(range(len(drafts)), 2):
        shared = _f1(tokens[first], tokens[second]) + _f1(neighbours[first], neighbours[second])
        agreement[[first, second]] += shared
    return int(agreement.argmax())


def _f1(one: Counter[Counted], other: Counter[Counted]) -> float:
    return 2 * (one & other).total() / max(one.total() + other.total(), 1)
