"""All text metrics of a system's outputs at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gavamoe.errors import DataError
from gavamoe.evaluation.metrics.bleu import bleu
from gavamoe.evaluation.metrics.diversity import distinct, unique_sentence_ratio, unique_sentences
from gavamoe.evaluation.metrics.features import coverage_ratio, detect_features, feature_diversity, matching_ratio
from gavamoe.evaluation.metrics.rouge import rouge

Metrics = dict[str, float | None]
# Where a larger value is better; DIV, RMSE and MAE are the ones where it is not.
LOWER_IS_BETTER = frozenset({"DIV", "RMSE", "MAE"})


def score_texts(
    predictions: Sequence[str],
    references: Sequence[str],
    features: Sequence[str | None] | None = None,
    feature_set: Collection[str] | None = None,
) -> Metrics:
    """BLEU and ROUGE in percent, the rest as ratios or counts; texts are split on white space as they are given.

    features: of each reference; rows without one do not count for FMR. feature_set: all features, for FCR and DIV. The
    three are None where features are not known. An empty prediction is scored as empty, never dropped.
    """
    if not predictions or len(predictions) != len(references):
        counts = f"{len(predictions)} and {len(references)}"
        raise DataError(f"scoring needs as many predictions as references, and at least one; found {counts}")
    predicted = [text.split() for text in predictions]
    wanted = [text.split() for text in references]
    return {
        "BLEU-1": bleu(predicted, wanted, 1),
        "BLEU-4": bleu(predicted, wanted, 4),
        **rouge(predicted, wanted),
        "USR": unique_sentence_ratio(predicted),
        "USN": unique_sentences(predicted),
        **_feature_metrics(predicted, features, feature_set),
        "Distinct-1": distinct(predicted, 1),
        "Distinct-2": distinct(predicted, 2),
    }


def _feature_metrics(
    predicted: list[list[str]], features: Sequence[str | None] | None, feature_set: Collection[str] | None
) -> Metrics:
    if not feature_set:
        return {"FMR": None, "FCR": None, "DIV": None}
    detected = detect_features(predicted, feature_set)
    known = [(named, feature) for named, feature in zip(detected, features or [], strict=False) if feature]
    return {
        "FMR": matching_ratio([named for named, _ in known], [feature for _, feature in known]) if known else None,
        "FCR": coverage_ratio(detected, feature_set),
        "DIV": feature_diversity(detected),
    }
