"""Corpus BLEU with one reference per text and no smoothing, in percent."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.outputs import Outputs, Words, windows

SOURCE = "Papineni et al. 2002; unsmoothed over the corpus, as PETER and PEPLER report it"
ORDERS = 4


def bleu_statistics(outputs: Outputs) -> np.ndarray:
    """Matched n-grams (n = 1..4), n-grams predicted (n = 1..4), words predicted, words of the reference: [n, 10]."""
    return np.array([_row(*pair) for pair in zip(outputs.predictions, outputs.references, strict=True)], dtype=float)


def bleu_value(totals: np.ndarray, rows: np.ndarray, order: int) -> np.ndarray:
    """Brevity penalty times the geometric mean of the n-gram precisions up to `order`; 0 when any of them is 0."""
    matched, predicted = totals[:, :order], totals[:, ORDERS : ORDERS + order]
    predicted_words, reference_words = totals[:, -2], totals[:, -1]
    positive = matched.min(1) > 0
    precision = np.where(positive[:, None], matched, 1) / np.where(positive[:, None], predicted, 1)
    brevity = np.minimum(0, 1 - reference_words / np.maximum(predicted_words, 1))
    return np.where(positive, 100 * np.exp(np.log(precision).mean(1) + brevity), 0.0)


def _row(prediction: Words, reference: Words) -> list[int]:
    matched = []
    for order in range(1, ORDERS + 1):
        wanted = Counter(windows(reference, order))
        said = Counter(windows(prediction, order))
        matched.append(sum(min(count, wanted[gram]) for gram, count in said.items() if gram in wanted))
    predicted = [max(len(prediction) - order, 0) for order in range(ORDERS)]
    return [*matched, *predicted, len(prediction), len(reference)]


METRICS = tuple(
    Metric(f"BLEU-{order}", True, SOURCE, bleu_statistics, partial(bleu_value, order=order)) for order in (1, 4)
)
