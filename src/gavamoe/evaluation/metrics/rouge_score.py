"""ROUGE as the rouge-score package computes it (without stemming), under separate names: means of F1, in percent.

Papers on summarisation report this form. It differs from the form of the field's tables (`rouge`): an n-gram counts as
often as it occurs, F1 weighs precision and recall equally, and words are runs of a-z and 0-9 in lower case.

    F1 = 2 * matched / (n-grams predicted + n-grams of the reference);  rougeL: words and longest common subsequence
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.metrics.rouge import longest_common_subsequence
from gavamoe.evaluation.outputs import Outputs, Words, ngrams

SOURCE = "Lin 2004, in the form of the rouge-score package, use_stemmer=False"
KINDS = ("rouge1", "rouge2", "rougeL")


def rouge_score_statistics(outputs: Outputs) -> np.ndarray:
    """Return F1 of rouge1, rouge2 and rougeL of each row, [n, 3]."""
    pairs = zip(map(_tokens, outputs.predictions), map(_tokens, outputs.references), strict=True)
    return np.array([_row(*pair) for pair in pairs])


def _row(prediction: Words, reference: Words) -> list[float]:
    scores = []
    for n in (1, 2):
        in_prediction, in_reference = Counter(ngrams(prediction, n)), Counter(ngrams(reference, n))
        matched = (in_prediction & in_reference).total()
        scores.append(_f1(matched, in_prediction.total(), in_reference.total()))
    common = longest_common_subsequence(prediction, reference)
    return [*scores, _f1(common, len(prediction), len(reference))]


def _f1(matched: int, predicted: int, reference: int) -> float:
    return 2 * matched / (predicted + reference) if matched else 0.0


def _tokens(words: Words) -> Words:
    """Split a text as the rouge-score package does."""
    return re.findall("[a-z0-9]+", " ".join(words).lower())


def _metric(kind: str, column: int) -> Metric:
    statistics = rouge_score_statistics
    return Metric(f"rouge-score/{kind}", True, SOURCE, statistics, lambda totals, rows: 100 * totals[:, column] / rows)


METRICS = tuple(_metric(kind, column) for column, kind in enumerate(KINDS))
