"""The metrics that need the model itself, not its texts alone: swap gaps and sentence ranking."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from gavamoe.conditions import Condition
from gavamoe.evaluation.bounds import Bounds
from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.row_scores import Metrics
from gavamoe.evaluation.score import MODEL_METRICS
from gavamoe.evaluation.training_texts import TrainingTexts
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.sentence_ranking import NAME as RANK
from gavamoe.pipeline.sentence_ranking import rank_sentences
from gavamoe.pipeline.swap_gap import measure_swap_gaps

SWAPS = MODEL_METRICS[:2]


@dataclass
class ModelMetrics:
    """Metrics of a model on n reviews.

    Args:
        metrics: their row statistics are computed already.
        bounds: floor and ceiling by name.
        further: details by name.
        rows: number of rows that each metric was measured on.
        missing: why a metric was not measured, by name.
    """

    metrics: tuple[Metric, ...] = ()
    bounds: dict[str, Bounds] = field(default_factory=dict)
    further: Metrics = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def measure_model(
    explainer: Explainer, reviews: pl.DataFrame, condition: Condition, training: TrainingTexts | None = None
) -> ModelMetrics:
    """Measure swap gaps and sentence ranking of a run on a sample of reviews, under the condition of its evaluation.

    Args:
        explainer: the run.
        reviews: the evaluated reviews, encoded with the run's catalog.
        condition: where the prompt's rating and feature come from.
        training: the training texts, for the gaps of word frequencies.
    """
    found = ModelMetrics()
    gaps = measure_swap_gaps(explainer, reviews, condition, training)
    found.metrics = gaps.metrics
    if gaps.rows:
        found.bounds |= {name: Bounds(0.0, None) for name in SWAPS}
        found.further |= {f"{name}/word frequencies": gap for name, gap in gaps.word_gaps.items()}
        found.rows |= dict.fromkeys(SWAPS, gaps.rows)
    else:
        found.missing |= dict.fromkeys(SWAPS, "no review with a text is by a known user about a known item")
    ranking = rank_sentences(explainer, reviews, condition)
    if isinstance(ranking, str):
        found.missing[RANK] = ranking
    else:
        found.metrics = (*found.metrics, ranking.metric)
        found.bounds[RANK] = ranking.bounds
        found.further[f"{RANK}/random"] = ranking.random
        found.rows[RANK] = ranking.rows
    return found
