"""Corpus BLEU with one reference a text and no smoothing (Papineni et al. 2002), in percent."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

Words = Sequence[str]


def bleu(predictions: Sequence[Words], references: Sequence[Words], order: int) -> float:
    """BLEU up to `order`-grams over the whole corpus; 0 when any order has no match. An empty text counts as empty."""
    matches, possible = [0] * order, [0] * order
    for prediction, reference in zip(predictions, references, strict=True):
        for n in range(1, order + 1):
            counts = ngrams(prediction, n)
            clipped = counts & ngrams(reference, n)
            matches[n - 1] += clipped.total()
            possible[n - 1] += counts.total()
    if min(matches) == 0:
        return 0.0
    mean_log_precision = sum(math.log(m / p) for m, p in zip(matches, possible, strict=True)) / order
    predicted_length, reference_length = sum(map(len, predictions)), sum(map(len, references))
    brevity = min(0.0, 1 - reference_length / predicted_length)
    return 100 * math.exp(mean_log_precision + brevity)


def ngrams(words: Words, n: int) -> Counter[tuple[str, ...]]:
    """How often each n-gram occurs."""
    return Counter(zip(*(words[start:] for start in range(n)), strict=False))
