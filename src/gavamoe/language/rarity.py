"""How rare tokens are in the training sentences: inverse document frequency, which separates content from form."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

RARITY_SENTENCES = 2000  # training sentences that are counted
CONTENT = 2.0  # a token is a content word if fewer than a seventh of the sentences have it


@dataclass(frozen=True)
class Rarity:
    """Inverse document frequencies of tokens and bigrams.

    Args:
        sentences: number of sentences that were counted.
        frequency: in how many of them a token (an id) or bigram (two ids) occurs.
    """

    sentences: int
    frequency: Counter[Hashable]

    @classmethod
    def fit(cls, sentences: Iterable[Sequence[int]]) -> Rarity:
        """Count tokens and bigrams in sentences of token ids."""
        frequency: Counter[Hashable] = Counter()
        count = 0
        for ids in sentences:
            count += 1
            frequency.update({*ids, *pairwise(ids)})
        return cls(count, frequency)

    def __call__(self, unit: Hashable) -> float:
        """Return the inverse document frequency of a token or bigram, in nats; 0 if every sentence has it."""
        return math.log((self.sentences + 1) / (self.frequency[unit] + 1))

    def repeated_content(self, ids: Sequence[int]) -> float:
        """Return the share of a text's tokens that are content words which the text has had before."""
        repeated = sum(count - 1 for token, count in Counter(ids).items() if count > 1 and self(token) > CONTENT)
        return repeated / max(len(ids), 1)
