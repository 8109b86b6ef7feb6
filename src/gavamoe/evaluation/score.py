"""The lists of metrics, and functions that score texts or ratings with them.

STANDARD_METRICS are those of the field's tables: TEXT_METRICS (BLEU, ROUGE, diversity, features) and RATING_METRICS.
PAIR_METRICS say whether a text is about the right item and user; they need training texts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gavamoe.evaluation.metrics import (
    bleu,
    calibration,
    coherence,
    diversity,
    features,
    fluency,
    genericness,
    hallucination,
    identifiability,
    rating,
    rouge,
    rouge_score,
    sacrebleu,
    statements,
    surface,
)
from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.outputs import Outputs, Ratings
from gavamoe.evaluation.row_scores import Metrics, RowScores

TEXT_METRICS = (*bleu.METRICS, *rouge.METRICS, *diversity.METRICS, *features.METRICS)
RATING_METRICS = rating.METRICS
PAIR_METRICS = (*identifiability.METRICS, *statements.METRICS, *genericness.METRICS)
MODEL_METRICS = ("swap_gap_user", "swap_gap_item", "sentence_rank_mrr")  # of a run, measured where its model is
CALIBRATION_METRICS = calibration.METRICS  # of systems that predict a distribution over the rating levels
STANDARD_METRICS = (*TEXT_METRICS, *RATING_METRICS)


def further_metrics() -> tuple[Metric, ...]:
    """Return the metrics that the field's tables do not report, as results list them under `further`.

    They are length, rep-2, rouge-score/*, feature hallucination, rating coherence, details of PAIR_METRICS and, if it
    is installed, sacrebleu.
    """
    metrics = (*surface.METRICS, *rouge_score.METRICS, *hallucination.METRICS, *coherence.METRICS)
    metrics = (*metrics, *identifiability.FURTHER_METRICS, *statements.FURTHER_METRICS)
    return (*metrics, *sacrebleu.METRICS) if sacrebleu.is_available() else metrics


def further_conditions(outputs: Outputs) -> dict[str, str]:
    """Return how further metrics split the texts into words, where it differs from what their packages do for English.

    Returns:
        A sentence by the name of the family; empty for texts whose words are of a-z.
    """
    conditions = rouge_score.conditions(outputs)
    return {**conditions, **sacrebleu.conditions(outputs)} if sacrebleu.is_available() else conditions


LOWER_IS_BETTER = {fluency.NAME} | frozenset(
    metric.name
    for metric in (*STANDARD_METRICS, *PAIR_METRICS, *CALIBRATION_METRICS, *further_metrics())
    if metric.higher_is_better is False
)


def score_texts(
    predictions: Sequence[str],
    references: Sequence[str],
    features: Sequence[str | None] | None = None,
    feature_set: Collection[str] | None = None,
) -> Metrics:
    """Score texts: BLEU and ROUGE in percent, the other metrics as ratios or counts.

    Texts are split on white space, and into characters in scripts without blanks, and not normalized.

    Args:
        predictions, references: texts, [n]. An empty prediction is scored as empty and never dropped.
        features: the feature of each reference, for FMR, [n]; a row without one (None or "") does not count there.
        feature_set: all features. FMR, FCR and DIV are None without it.

    Returns:
        A value per metric of `TEXT_METRICS`; None where it is not defined.

    Raises:
        DataError: no rows, or columns of different lengths.
    """
    outputs = Outputs.from_texts(predictions, references, features, feature_set)
    return RowScores(outputs, TEXT_METRICS).overall()


def score_ratings(predicted: Ratings, true: Ratings, low: float, high: float) -> Metrics:
    """Return RMSE and MAE in units of the scale, after predictions are clipped to [low, high].

    Args:
        predicted, true: ratings, [n]; a row with None or NaN on either side does not count.
        low, high: bounds of the rating scale.

    Raises:
        DataError: no rows, or columns of different lengths.
    """
    blank: list[list[str]] = [[]] * len(predicted)
    outputs = Outputs(blank, blank, predicted=predicted, true=true, scale=(low, high))
    return RowScores(outputs, RATING_METRICS).overall()
