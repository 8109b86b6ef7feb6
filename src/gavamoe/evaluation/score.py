"""The metrics of the field's tables, all at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gavamoe.evaluation.metrics import (
    bleu,
    coherence,
    diversity,
    features,
    hallucination,
    rating,
    rouge,
    rouge_score,
    sacrebleu,
    surface,
)
from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.outputs import Outputs, Ratings
from gavamoe.evaluation.row_scores import Metrics, RowScores

TEXT_METRICS = (*bleu.METRICS, *rouge.METRICS, *diversity.METRICS, *features.METRICS)
RATING_METRICS = rating.METRICS
STANDARD_METRICS = (*TEXT_METRICS, *RATING_METRICS)


def further_metrics() -> tuple[Metric, ...]:
    """Metrics the field's tables lack, under their own names; sacrebleu's where it is installed."""
    chosen = (*surface.METRICS, *rouge_score.METRICS, *hallucination.METRICS, *coherence.METRICS)
    return (*chosen, *sacrebleu.METRICS) if sacrebleu.available() else chosen


LOWER_IS_BETTER = frozenset(
    metric.name for metric in (*STANDARD_METRICS, *further_metrics()) if metric.higher_is_better is False
)


def score_texts(
    predictions: Sequence[str],
    references: Sequence[str],
    features: Sequence[str | None] | None = None,
    feature_set: Collection[str] | None = None,
) -> Metrics:
    """BLEU and ROUGE in percent, the rest as ratios or counts; texts are split on white space as they are given.

    Args:
        predictions, references: texts, [n]. An empty prediction is scored as empty, never dropped.
        features: the feature of each reference, for FMR; a row without one (None or "") does not count there.
        feature_set: all features there are. FMR, FCR and DIV are None without it.

    Raises:
        DataError: no rows, or columns of different lengths.
    """
    outputs = Outputs.of_texts(predictions, references, features, feature_set)
    return RowScores(outputs, TEXT_METRICS).overall()


def score_ratings(predicted: Ratings, true: Ratings, low: float, high: float) -> Metrics:
    """RMSE and MAE in units of the scale, after predictions are clipped to [low, high].

    Raises:
        DataError: no rows, or columns of different lengths.
    """
    blank: list[list[str]] = [[]] * len(predicted)
    outputs = Outputs(blank, blank, predicted=predicted, true=true, scale=(low, high))
    return RowScores(outputs, RATING_METRICS).overall()
