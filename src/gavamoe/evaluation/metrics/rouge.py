"""ROUGE-1, ROUGE-2 and ROUGE-L as the field's tables use them, in percent, means over texts.

They follow the ROUGE of Google's seq2seq, which PETER and PEPLER took over, and differ from the rouge-score package:
n-grams are counted once a text, and ROUGE-L weighs precision and recall with beta = P / R. An empty prediction scores 0;
the original drops it, which rewards a system for falling silent.
"""

from __future__ import annotations

from collections.abc import Sequence

Words = Sequence[str]
Scores = tuple[float, float, float]  # F, recall, precision


def rouge(predictions: Sequence[Words], references: Sequence[Words]) -> dict[str, float]:
    """Keys rouge_1/f_score, rouge_1/r_score, rouge_1/p_score, and so for rouge_2 and rouge_l."""
    pairs = list(zip(predictions, references, strict=True))
    by_name = {
        "rouge_1": [rouge_n(p, r, 1) for p, r in pairs],
        "rouge_2": [rouge_n(p, r, 2) for p, r in pairs],
        "rouge_l": [rouge_l(p, r) for p, r in pairs],
    }
    return {
        f"{name}/{part}_score": 100 * sum(score[index] for score in scores) / len(scores)
        for name, scores in by_name.items()
        for index, part in enumerate("frp")
    }


def rouge_n(prediction: Words, reference: Words, n: int) -> Scores:
    """Overlap of the two sets of n-grams."""
    predicted, wanted = _ngram_set(prediction, n), _ngram_set(reference, n)
    overlap = len(predicted & wanted)
    precision = overlap / len(predicted) if predicted else 0.0
    recall = overlap / len(wanted) if wanted else 0.0
    return 2 * precision * recall / (precision + recall + 1e-8), recall, precision


def rouge_l(prediction: Words, reference: Words) -> Scores:
    """Longest common subsequence; F with beta = precision / recall."""
    if not prediction or not reference:
        return 0.0, 0.0, 0.0
    common = longest_common_subsequence(prediction, reference)
    recall, precision = common / len(reference), common / len(prediction)
    beta_squared = (precision / (recall + 1e-12)) ** 2
    f = (1 + beta_squared) * recall * precision / (recall + beta_squared * precision + 1e-12)
    return f, recall, precision


def longest_common_subsequence(left: Words, right: Words) -> int:
    """Length of the longest common subsequence, bit-parallel (Hyyrö 2004): one integer operation per word of `right`."""
    positions: dict[str, int] = {}
    for index, word in enumerate(left):
        positions[word] = positions.get(word, 0) | (1 << index)
    mask = (1 << len(left)) - 1
    row = mask
    for word in right:
        matched = row & positions.get(word, 0)
        row = ((row + matched) | (row - matched)) & mask
    return len(left) - row.bit_count()


def _ngram_set(words: Words, n: int) -> set[tuple[str, ...]]:
    return set(zip(*(words[start:] for start in range(n)), strict=False))
