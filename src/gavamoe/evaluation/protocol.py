"""How a system is evaluated: which rows, what the prompt may know, how texts are made comparable; all of it stated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from transformers import GenerationConfig

from gavamoe.errors import DataError
from gavamoe.evaluation.groups import Groups, SparsityGroups, by_group
from gavamoe.evaluation.normalize import normalize, truncate
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import Metrics, RowScores
from gavamoe.evaluation.score import STANDARD_METRICS
from gavamoe.evaluation.significance import Interval, confidence_intervals
from gavamoe.evaluation.trivial import System
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.explanation import Explanation
from gavamoe.explainer.prompt import Condition

TRUNCATE_WORDS = 20  # as the reference figures of the field's short-text sets
NORMALIZATION = "lowercase, punctuation split from words"


@dataclass
class Evaluation:
    """Metrics of one system on n pairs, under stated conditions; and what it said of each.

    intervals: 95 % confidence, per metric that has one. groups: metrics by how many training reviews the user has, by
    cluster and by true rating: {grouping: {group: {"n", "metrics"}}}.
    """

    n: int
    conditions: dict[str, Any]
    metrics: Metrics
    explanations: list[Explanation] = field(default_factory=list)
    intervals: dict[str, Interval] = field(default_factory=dict)
    groups: Groups = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As `gavamoe evaluate --json` prints it."""
        names = ("n", "conditions", "metrics", "intervals", "groups")
        return {name: getattr(self, name) for name in names}


def evaluate(explainer: Explainer, reviews: pl.DataFrame, condition: Condition, about: dict[str, Any]) -> Evaluation:
    """Explain every pair of `reviews` (user, item, rating, text, and feature where known) and score the outcome.

    Users and items the model never met are among them, as unknowns. `about` (data, split, ...) joins the conditions.
    """
    if reviews.is_empty():
        raise DataError("there are no reviews to evaluate on")
    explanations = explainer.explain_batch(reviews, condition)
    ratings = np.array([explanation.rating for explanation in explanations])
    outputs = comparable_outputs([explanation.text for explanation in explanations], ratings, reviews, explainer)
    scores = RowScores(outputs, STANDARD_METRICS)
    conditions = {
        **about,
        "rating": condition.rating,
        "feature": condition.feature,
        "oracle": condition.oracle,
        "evidence": explainer.facts.quoted,
        "decoding": describe_decoding(explainer.model.generation_config),
        "normalization": NORMALIZATION,
        "truncate_words": TRUNCATE_WORDS,
        "texts": int(has_text(reviews).sum()),
        "cold_users": sum(explanation.cold_user for explanation in explanations),
        "cold_items": sum(explanation.cold_item for explanation in explanations),
        "unfinished": sum(not explanation.finished for explanation in explanations),
        "empty": sum(not explanation.text for explanation in explanations),
    }
    groups = {name: by_group(scores, labels) for name, labels in group_labels(explainer, reviews, explanations).items()}
    return Evaluation(len(reviews), conditions, scores.overall(), explanations, confidence_intervals(scores), groups)


def evaluate_system(system: System, explainer: Explainer, reviews: pl.DataFrame) -> Metrics:
    """A baseline's metrics on the same rows, made comparable in the same way."""
    texts, ratings = system.predict(reviews)
    return RowScores(comparable_outputs(texts, ratings, reviews, explainer), STANDARD_METRICS).overall()


def comparable_outputs(texts: list[str], ratings: np.ndarray, reviews: pl.DataFrame, explainer: Explainer) -> Outputs:
    """Outputs as they are scored, whoever wrote them; a row without a reference text counts for ratings only."""
    scale = explainer.catalog.scale
    return Outputs(
        [comparable(text).split() for text in texts],
        [comparable(text).split() for text in reviews["text"].fill_null("").to_list()],
        reviews["feature"].to_list() if "feature" in reviews.columns else None,
        explainer.catalog.features,
        predicted=ratings,
        true=reviews["rating"].to_numpy(),
        scale=(scale.values[0], scale.values[-1]),
        described=has_text(reviews).to_numpy(),
    )


def has_text(reviews: pl.DataFrame) -> pl.Series:
    """Which rows have a reference text."""
    return reviews["text"].fill_null("").str.strip_chars() != ""


def group_labels(explainer: Explainer, reviews: pl.DataFrame, explanations: list[Explanation]) -> dict[str, list[Any]]:
    """The group of each row in every grouping."""
    counts = explainer.catalog.user_counts
    sparsity = SparsityGroups.fit(counts[counts > 0])
    return {
        "training reviews of the user": sparsity.labels(counts[reviews["user_id"].to_numpy()].tolist()),
        "cluster": [explanation.cluster for explanation in explanations],
        "rating": reviews["rating"].to_list(),
    }


def describe_decoding(generation: GenerationConfig) -> str:
    """The run's way of decoding in a few words."""
    if generation.do_sample:
        return f"sampled, temperature {generation.temperature:g}, top-p {generation.top_p:g}, seed 0"
    return f"{generation.num_beams} beams" if (generation.num_beams or 1) > 1 else "greedy"


def comparable(text: str) -> str:
    """A text as it is scored: normalized, then cut."""
    return truncate(normalize(text), TRUNCATE_WORDS)
