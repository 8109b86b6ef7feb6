"""BLEU-1 and BLEU-4: corpus BLEU with one reference per text and no smoothing, in percent.

    BLEU-N = 100 * exp(min(0, 1 - r / c)) * (prod_{n=1..N} matched_n / predicted_n)^(1/N)

with c and r the words of all predictions and references, and matched n-grams clipped to their count in the reference.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.outputs import Outputs, Words, ngrams

SOURCE = "Papineni et al. 2002; unsmoothed over the corpus, as PETER and PEPLER report it"
MAX_ORDER = 4


def bleu_statistics(outputs: Outputs) -> np.ndarray:
    """Return matched n-grams (n = 1..4), predicted n-grams (n = 1..4), predicted words, reference words: [n, 10]."""
    return np.array([_row(*pair) for pair in zip(outputs.predictions, outputs.references, strict=True)], dtype=float)


def corpus_bleu(totals: np.ndarray, rows: np.ndarray, order: int) -> np.ndarray:
    """Return the brevity penalty times the geometric mean of the n-gram precisions up to `order`, in percent.

    Args:
        totals: summed statistics, [b, 10].
        rows: not used: corpus BLEU is no mean over rows.
        order: the longest n-gram.

    Returns:
        The values, [b]; 0 where any precision is 0.
    """
    matched, predicted = totals[:, :order], totals[:, MAX_ORDER : MAX_ORDER + order]
    predicted_words, reference_words = totals[:, -2], totals[:, -1]
    positive = matched.min(1) > 0
    precision = np.where(positive[:, None], matched, 1) / np.where(positive[:, None], predicted, 1)
    brevity = np.minimum(0, 1 - reference_words / np.maximum(predicted_words, 1))
    return np.where(positive, 100 * np.exp(np.log(precision).mean(1) + brevity), 0.0)


def _row(prediction: Words, reference: Words) -> list[int]:
    matched = []
    for order in range(1, MAX_ORDER + 1):
        in_reference = Counter(ngrams(reference, order))
        in_prediction = Counter(ngrams(prediction, order))
        matched.append(
            sum(min(count, in_reference[gram]) for gram, count in in_prediction.items() if gram in in_reference)
        )
    predicted = [max(len(prediction) - order, 0) for order in range(MAX_ORDER)]
    return [*matched, *predicted, len(prediction), len(reference)]


METRICS = tuple(
    Metric(f"BLEU-{order}", True, SOURCE, bleu_statistics, partial(corpus_bleu, order=order)) for order in (1, 4)
)
