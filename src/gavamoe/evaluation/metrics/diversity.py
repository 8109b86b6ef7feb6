"""How varied the texts of a system are, over the whole corpus; each in time linear in the words."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy import sparse

from gavamoe.evaluation.metrics.metric import Metric, occurrences
from gavamoe.evaluation.outputs import Outputs, windows

UNIQUE = "Li et al. 2020 (NETE)"
DISTINCT = "after Li et al. 2016, who divide by words; over the n-grams of the corpus"


def text_occurrences(outputs: Outputs) -> sparse.csr_array:
    """Which text each row is: [n, different texts]. The empty text is a text."""
    return occurrences([(tuple(words),) for words in outputs.predictions])


def ngram_occurrences(outputs: Outputs, n: int) -> sparse.csr_array:
    """How often each n-gram occurs in each row: [n, different n-grams]."""
    return occurrences([windows(words, n) for words in outputs.predictions])


def _seen(totals: np.ndarray) -> np.ndarray:
    return (totals > 0).sum(1).astype(float)


def _distinct(n: int) -> Metric:
    return Metric(
        f"Distinct-{n}",
        True,
        DISTINCT,
        partial(ngram_occurrences, n=n),
        # A corpus without a single n-gram has no variety: 0, not undefined.
        lambda totals, rows: _seen(totals) / np.maximum(totals.sum(1), 1),
        resamples=False,
    )


METRICS = (
    Metric("USR", True, UNIQUE, text_occurrences, lambda totals, rows: _seen(totals) / rows, resamples=False),
    Metric("USN", True, UNIQUE, text_occurrences, lambda totals, rows: _seen(totals), resamples=False),
    _distinct(1),
    _distinct(2),
)
