"""How diverse the texts of a system are over the whole corpus; each metric takes time linear in the words.

USN = distinct texts,  USR = distinct texts / texts,  Distinct-n = distinct n-grams / n-grams
"""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy import sparse

from gavamoe.evaluation.metrics.metric import Metric, count_matrix
from gavamoe.evaluation.outputs import Outputs, ngrams

UNIQUE_SOURCE = "Li et al. 2020 (NETE)"
DISTINCT_SOURCE = "after Li et al. 2016, who divide by words; over the n-grams of the corpus"


def text_counts(outputs: Outputs) -> sparse.csr_array:
    """Return which distinct text each row is, [n, distinct texts]; the empty text counts as a text."""
    return count_matrix([(tuple(words),) for words in outputs.predictions])


def ngram_counts(outputs: Outputs, n: int) -> sparse.csr_array:
    """Return how often each n-gram occurs in each row, [n, distinct n-grams]."""
    return count_matrix([ngrams(words, n) for words in outputs.predictions])


def _num_distinct(totals: np.ndarray) -> np.ndarray:
    """Return how many columns occur at least once: [b, s] -> [b]."""
    distinct: np.ndarray = (totals > 0).sum(1).astype(float)
    return distinct


def _distinct(n: int) -> Metric:
    return Metric(
        f"Distinct-{n}",
        True,
        DISTINCT_SOURCE,
        partial(ngram_counts, n=n),
        # A corpus without a single n-gram has no diversity: 0, not undefined.
        lambda totals, rows: _num_distinct(totals) / np.maximum(totals.sum(1), 1),
        bootstrap=False,
    )


METRICS = (
    Metric("USR", True, UNIQUE_SOURCE, text_counts, lambda totals, rows: _num_distinct(totals) / rows, bootstrap=False),
    Metric("USN", True, UNIQUE_SOURCE, text_counts, lambda totals, rows: _num_distinct(totals), bootstrap=False),
    _distinct(1),
    _distinct(2),
)
