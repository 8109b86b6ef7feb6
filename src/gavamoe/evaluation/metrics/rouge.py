"""ROUGE-1, ROUGE-2 and ROUGE-L as the field's tables report them: means over texts, in percent.

The definitions are those of Google's seq2seq, which PETER and PEPLER use. They differ from the rouge-score package:
an n-gram counts once per text however often it is repeated, and ROUGE-L weighs recall by beta = precision / recall.

    ROUGE-N: P = |A & B| / |A|,  R = |A & B| / |B|,  F = 2PR / (P + R)      A, B: n-gram sets of prediction, reference
    ROUGE-L: P = LCS / |prediction|,  R = LCS / |reference|,  F = (1 + beta²) PR / (R + beta² P),  beta = P / R

An empty prediction scores 0. The original leaves it out of the mean, which rewards a system that writes nothing.
"""

from __future__ import annotations

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric, mean_of
from gavamoe.evaluation.outputs import Outputs, Words, ngrams

SOURCE = "Lin 2004, in the form of google/seq2seq that PETER and PEPLER report"
Scores = tuple[float, float, float]  # F, recall, precision; 0..1


def rouge_statistics(outputs: Outputs) -> np.ndarray:
    """Return F, recall and precision of ROUGE-1, ROUGE-2 and ROUGE-L of each row, [n, 9]."""
    return np.array(
        [
            (*rouge_n(prediction, reference, 1), *rouge_n(prediction, reference, 2), *rouge_l(prediction, reference))
            for prediction, reference in zip(outputs.predictions, outputs.references, strict=True)
        ]
    )


def rouge_n(prediction: Words, reference: Words, n: int) -> Scores:
    """Return F, recall and precision of the overlap of the two sets of n-grams."""
    in_prediction, in_reference = set(ngrams(prediction, n)), set(ngrams(reference, n))
    overlap = len(in_prediction & in_reference)
    precision = overlap / len(in_prediction) if in_prediction else 0.0
    recall = overlap / len(in_reference) if in_reference else 0.0
    # The small terms here and below are the original's; without them the values differ in the seventh digit.
    return 2 * precision * recall / (precision + recall + 1e-8), recall, precision


def rouge_l(prediction: Words, reference: Words) -> Scores:
    """Return F (with beta = precision / recall), recall and precision of the longest common subsequence."""
    if not prediction or not reference:
        return 0.0, 0.0, 0.0
    common = longest_common_subsequence(prediction, reference)
    recall, precision = common / len(reference), common / len(prediction)
    beta_squared = (precision / (recall + 1e-12)) ** 2
    f = (1 + beta_squared) * recall * precision / (recall + beta_squared * precision + 1e-12)
    return f, recall, precision


def longest_common_subsequence(left: Words, right: Words) -> int:
    """Return the length of the longest common subsequence; bit-parallel (Hyyrö 2004), one step per word of `right`."""
    positions: dict[str, int] = {}
    for index, word in enumerate(left):
        positions[word] = positions.get(word, 0) | (1 << index)
    mask = (1 << len(left)) - 1
    row = mask
    for word in right:
        matched = row & positions.get(word, 0)
        row = ((row + matched) | (row - matched)) & mask
    return len(left) - row.bit_count()


def _metric(name: str, column: int) -> Metric:
    return Metric(name, True, SOURCE, rouge_statistics, mean_of(column, factor=100))


METRICS = tuple(
    _metric(f"rouge_{kind}/{part}_score", 3 * place + offset)
    for place, kind in enumerate("12l")
    for offset, part in enumerate("frp")
)
