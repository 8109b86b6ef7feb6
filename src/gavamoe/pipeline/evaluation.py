"""The evaluation of a run or a baseline on an `EvalSet`; the conditions it was made under are part of the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gavamoe.baselines.base import Predictions, System
from gavamoe.conditions import Condition
from gavamoe.errors import DataError
from gavamoe.evaluation.bounds import Bounds, reasons, with_bounds
from gavamoe.evaluation.comparable import TRUNCATE_WORDS, describe_normalization, has_text
from gavamoe.evaluation.groups import SPARSITY, Groups, by_group
from gavamoe.evaluation.metrics import fluency as fluency_metric
from gavamoe.evaluation.metrics.fluency import FluencyModel
from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import Metrics, RowScores
from gavamoe.evaluation.score import PAIR_METRICS, STANDARD_METRICS, further_conditions, further_metrics
from gavamoe.evaluation.significance import Interval, confidence_intervals
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.explanation import Explanation
from gavamoe.pipeline.eval_set import EvalSet
from gavamoe.pipeline.language_models import fluency_bounds
from gavamoe.pipeline.model_metrics import ModelMetrics, measure_model


@dataclass
class Evaluation:
    """Metrics of a run on n pairs, and the explanations they were computed from.

    Args:
        n: number of pairs.
        conditions: data, split, what the prompt contained, how texts were decoded and normalised, and counts.
        metrics: the metrics of the field's tables, and those that know the right item and user.
        explanations: one a pair.
        intervals: 95 % confidence intervals of the metrics that have one.
        groups: metrics by the user's number of training reviews, by cluster and by true rating:
            {grouping: {group: {"n", "metrics"}}}.
        further: metrics that the field's tables lack.
        bounds: floor and ceiling of a metric, by its name.
    """

    n: int
    conditions: dict[str, Any]
    metrics: Metrics
    explanations: list[Explanation] = field(default_factory=list)
    intervals: dict[str, Interval] = field(default_factory=dict)
    groups: Groups = field(default_factory=dict)
    further: Metrics = field(default_factory=dict)
    bounds: dict[str, Bounds] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what `gavamoe evaluate --json` prints."""
        names = ("n", "conditions", "metrics", "intervals", "groups", "further")
        return {
            **{name: getattr(self, name) for name in names},
            "metrics": with_bounds(self.metrics, self.bounds),
            "bounds": {name: bounds.to_dict() for name, bounds in self.bounds.items()},
        }


def evaluate(
    explainer: Explainer,
    eval_set: EvalSet,
    condition: Condition,
    about: dict[str, Any],
    fluency: FluencyModel | None = None,
    similarity: Sequence[Metric] = (),
) -> Evaluation:
    """Explain every pair of an evaluation set and score the explanations; unknown users and items are included.

    Args:
        explainer: the run.
        eval_set: the reviews, encoded with the catalog of the run.
        condition: which facts about a pair the prompt contains.
        about: data, split and limit, which become part of the conditions of the result.
        fluency: measures the fluency of the texts; None leaves it out.
        similarity: metrics of a similarity model.

    Raises:
        DataError: there are no reviews, or they lack what the condition gives.
    """
    reviews = eval_set.reviews
    if reviews.is_empty():
        raise DataError("there are no reviews to evaluate on")
    explanations = explainer.explain_batch(reviews, condition)
    ratings = np.array([explanation.rating for explanation in explanations])
    outputs = eval_set.outputs(Predictions([explanation.text for explanation in explanations], ratings))
    of_model = measure_model(explainer, reviews, condition, eval_set.training)
    fluency_metrics = fluency.metrics if fluency else ()
    scores = RowScores(outputs, (*STANDARD_METRICS, *PAIR_METRICS, *of_model.metrics, *fluency_metrics))
    metrics = {**scores.overall(), **dict.fromkeys(of_model.missing)}
    conditions = {
        **about,
        **explainer.context.describe(condition),
        "decoding": explainer.decoding.describe(),
        "normalization": describe_normalization(outputs),
        "truncate_words": TRUNCATE_WORDS,
        "texts": int(has_text(reviews).sum()),
        "cold_users": sum(explanation.cold_user for explanation in explanations),
        "cold_items": sum(explanation.cold_item for explanation in explanations),
        "unfinished": sum(not explanation.finished for explanation in explanations),
        "empty": sum(not explanation.text for explanation in explanations),
        **further_conditions(outputs),
        **_measurement(outputs, metrics, of_model, fluency),
    }
    return Evaluation(
        len(reviews),
        conditions,
        {**metrics, fluency_metric.NAME: metrics.get(fluency_metric.NAME)},
        explanations,
        confidence_intervals(scores),
        {name: by_group(scores, labels) for name, labels in group_labels(eval_set, explanations).items()},
        {**RowScores(outputs, (*further_metrics(), *similarity)).overall(), **of_model.further},
        eval_set.bounds | of_model.bounds | fluency_bounds(fluency, outputs),
    )


def _measurement(
    outputs: Outputs, metrics: Metrics, of_model: ModelMetrics, fluency: FluencyModel | None
) -> dict[str, Any]:
    """Return the conditions that say what metrics of the right item and user were measured on, and which were not."""
    missing = reasons(outputs, metrics, "the training reviews are not available") | of_model.missing
    if fluency is None:
        missing[fluency_metric.NAME] = "name a language model with --fluency"
    return {
        **({"training_texts": outputs.training.describe()} if outputs.training else {}),
        "rows_of_metrics": of_model.rows,
        **({"fluency_model": fluency.name} if fluency else {}),
        "not_measured": missing,
    }


def evaluate_system(system: System, eval_set: EvalSet, condition: Condition | None = None) -> Metrics:
    """Return the metrics of a trained system on an evaluation set; `condition` None is the default one."""
    predictions = system.predict(eval_set.reviews, condition or Condition())
    return eval_set.score(predictions, eval_set.metrics_of(predictions)).overall()


def group_labels(eval_set: EvalSet, explanations: list[Explanation]) -> dict[str, list[Any]]:
    """Return the group of each row in every grouping."""
    return {
        SPARSITY: eval_set.sparsity_labels(),
        "cluster": [explanation.cluster for explanation in explanations],
        "rating": eval_set.reviews["rating"].to_list(),
    }
