"""The metrics written directly from their definitions, in quadratic time where the definition takes it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import combinations

Texts = Sequence[str]


def grams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


def bleu(predictions: Texts, references: Texts, order: int) -> float:
    log_precisions = []
    for n in range(1, order + 1):
        matched = predicted = 0
        for prediction, reference in zip(predictions, references, strict=True):
            candidate, target = grams(prediction.split(), n), grams(reference.split(), n)
            predicted += len(candidate)
            matched += sum(min(candidate.count(gram), target.count(gram)) for gram in set(candidate))
        if matched == 0:
            return 0.0
        log_precisions.append(math.log(matched / predicted))
    length = sum(len(text.split()) for text in predictions) / sum(len(text.split()) for text in references)
    penalty = 1.0 if length > 1 else math.exp(1 - 1 / length)
    return 100 * penalty * math.exp(sum(log_precisions) / order)


def subsequence(left: list[str], right: list[str]) -> int:
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def rouge_n(prediction: str, reference: str, n: int) -> tuple[float, float, float]:
    candidate, target = set(grams(prediction.split(), n)), set(grams(reference.split(), n))
    precision = len(candidate & target) / len(candidate) if candidate else 0.0
    recall = len(candidate & target) / len(target) if target else 0.0
    return 2 * precision * recall / (precision + recall + 1e-8), recall, precision


def rouge_l(prediction: str, reference: str) -> tuple[float, float, float]:
    candidate, target = prediction.split(), reference.split()
    if not candidate or not target:
        return 0.0, 0.0, 0.0
    common = subsequence(candidate, target)
    recall, precision = common / len(target), common / len(candidate)
    beta = precision / (recall + 1e-12)
    return (1 + beta**2) * recall * precision / (recall + beta**2 * precision + 1e-12), recall, precision


def rouge(predictions: Texts, references: Texts) -> dict[str, float]:
    result = {}
    pairs = list(zip(predictions, references, strict=True))
    for kind, score in (
        ("1", lambda p, r: rouge_n(p, r, 1)),
        ("2", lambda p, r: rouge_n(p, r, 2)),
        ("l", rouge_l),
    ):
        for place, part in enumerate("frp"):
            result[f"rouge_{kind}/{part}_score"] = 100 * sum(score(*pair)[place] for pair in pairs) / len(pairs)
    return result


def distinct(predictions: Texts, n: int) -> float:
    all_grams = [gram for text in predictions for gram in grams(text.split(), n)]
    return len(set(all_grams)) / len(all_grams) if all_grams else 0.0


def unique(predictions: Texts) -> int:
    distinct_texts: list[list[str]] = []
    for text in predictions:
        if text.split() not in distinct_texts:
            distinct_texts.append(text.split())
    return len(distinct_texts)


def score(
    predictions: Texts, references: Texts, features: Sequence[str | None], feature_set: Collection[str]
) -> dict[str, float | None]:
    named = [{feature for feature in feature_set if feature in text.split()} for text in predictions]
    known = [(names, feature) for names, feature in zip(named, features, strict=True) if feature]
    pairs = list(combinations(named, 2))
    return {
        "BLEU-1": bleu(predictions, references, 1),
        "BLEU-4": bleu(predictions, references, 4),
        **rouge(predictions, references),
        "USR": unique(predictions) / len(predictions),
        "USN": unique(predictions),
        "Distinct-1": distinct(predictions, 1),
        "Distinct-2": distinct(predictions, 2),
        "FMR": sum(feature in names for names, feature in known) / len(known) if known and feature_set else None,
        "FCR": len(set().union(*named)) / len(feature_set) if feature_set else None,
        "DIV": sum(len(a & b) for a, b in pairs) / len(pairs) if pairs and feature_set else None,
    }
