"""How a system is evaluated: which rows, what the prompt may know, how texts are made comparable; all of it stated."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from gavamoe.baselines.simple import System
from gavamoe.conditions import Condition
from gavamoe.errors import DataError
from gavamoe.evaluation.comparable import (
    TRUNCATE_WORDS,
    comparable_outputs,
    describe_normalization,
    features_of_items,
    has_text,
)
from gavamoe.evaluation.groups import SPARSITY, Groups, SparsityGroups, by_group
from gavamoe.evaluation.row_scores import Metrics, RowScores
from gavamoe.evaluation.score import STANDARD_METRICS, further_conditions, further_metrics
from gavamoe.evaluation.significance import Interval, confidence_intervals
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.explanation import Explanation


@dataclass
class Evaluation:
    """Metrics of one system on n pairs, under stated conditions; and what it said of each.

    intervals: 95 % confidence, per metric that has one. groups: metrics by how many training reviews the user has, by
    cluster and by true rating: {grouping: {group: {"n", "metrics"}}}. further: metrics that the field's tables lack.
    """

    n: int
    conditions: dict[str, Any]
    metrics: Metrics
    explanations: list[Explanation] = field(default_factory=list)
    intervals: dict[str, Interval] = field(default_factory=dict)
    groups: Groups = field(default_factory=dict)
    further: Metrics = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As `gavamoe evaluate --json` prints it."""
        names = ("n", "conditions", "metrics", "intervals", "groups", "further")
        return {name: getattr(self, name) for name in names}


def evaluate(
    explainer: Explainer,
    reviews: pl.DataFrame,
    condition: Condition,
    about: dict[str, Any],
    train: pl.DataFrame | None = None,
) -> Evaluation:
    """Explain every pair of `reviews` (user, item, rating, text, and feature where known) and score the outcome.

    Users and items the model never met are among them, as unknowns. `about` (data, split, ...) joins the conditions.
    `train`: the training reviews, which say what features can be told of an item.
    """
    if reviews.is_empty():
        raise DataError("there are no reviews to evaluate on")
    explanations = explainer.explain_batch(reviews, condition)
    ratings = np.array([explanation.rating for explanation in explanations])
    texts = [explanation.text for explanation in explanations]
    outputs = comparable_outputs(texts, ratings, reviews, explainer.catalog, _supported(explainer, reviews, train))
    scores = RowScores(outputs, STANDARD_METRICS)
    conditions = {
        **about,
        "rating": condition.rating,
        "feature": condition.feature,
        "oracle": condition.oracle,
        "evidence": explainer.context.quoted,
        "decoding": explainer.decoding.describe(),
        "normalization": describe_normalization(outputs),
        "truncate_words": TRUNCATE_WORDS,
        "texts": int(has_text(reviews).sum()),
        "cold_users": sum(explanation.cold_user for explanation in explanations),
        "cold_items": sum(explanation.cold_item for explanation in explanations),
        "unfinished": sum(not explanation.finished for explanation in explanations),
        "empty": sum(not explanation.text for explanation in explanations),
        **further_conditions(outputs),
    }
    groups = {name: by_group(scores, labels) for name, labels in group_labels(explainer, reviews, explanations).items()}
    further = RowScores(outputs, further_metrics()).overall()
    return Evaluation(
        len(reviews), conditions, scores.overall(), explanations, confidence_intervals(scores), groups, further
    )


def evaluate_system(
    system: System, explainer: Explainer, reviews: pl.DataFrame, train: pl.DataFrame | None = None
) -> Metrics:
    """A baseline's metrics, the further ones too, on the same rows, made comparable in the same way."""
    texts, ratings = system.predict(reviews)
    outputs = comparable_outputs(texts, ratings, reviews, explainer.catalog, _supported(explainer, reviews, train))
    return RowScores(outputs, (*STANDARD_METRICS, *further_metrics())).overall()


def _supported(explainer: Explainer, reviews: pl.DataFrame, train: pl.DataFrame | None) -> list[Collection[str]] | None:
    return None if train is None else features_of_items(train, reviews, explainer.catalog.features)


def group_labels(explainer: Explainer, reviews: pl.DataFrame, explanations: list[Explanation]) -> dict[str, list[Any]]:
    """The group of each row in every grouping."""
    counts = explainer.catalog.user_counts
    sparsity = SparsityGroups.fit(counts[counts > 0])
    return {
        SPARSITY: sparsity.labels(explainer.catalog.training_reviews(reviews)),
        "cluster": [explanation.cluster for explanation in explanations],
        "rating": reviews["rating"].to_list(),
    }
