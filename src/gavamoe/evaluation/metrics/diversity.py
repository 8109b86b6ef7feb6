"""How varied the texts of a system are."""

from __future__ import annotations

from collections.abc import Sequence

from gavamoe.evaluation.metrics.bleu import ngrams

Words = Sequence[str]


def unique_sentences(predictions: Sequence[Words]) -> int:
    """USN: how many different texts there are (Li et al. 2020, NETE)."""
    return len({tuple(words) for words in predictions})


def unique_sentence_ratio(predictions: Sequence[Words]) -> float:
    """USR: USN over the number of texts."""
    return unique_sentences(predictions) / len(predictions)


def distinct(predictions: Sequence[Words], n: int) -> float:
    """Distinct-n (Li et al. 2016): different n-grams over all n-grams of the corpus; 0 when there are none."""
    seen: set[tuple[str, ...]] = set()
    total = 0
    for words in predictions:
        counts = ngrams(words, n)
        seen.update(counts)
        total += counts.total()
    return len(seen) / total if total else 0.0
