"""How a system is evaluated: which rows, what the prompt may know, how texts are made comparable; all of it stated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from transformers import GenerationConfig

from gavamoe.errors import DataError
from gavamoe.evaluation.normalize import normalize, truncate
from gavamoe.evaluation.row_scores import Metrics
from gavamoe.evaluation.score import score_ratings, score_texts
from gavamoe.evaluation.trivial import System
from gavamoe.explainer.explainer import Explainer, Explanation
from gavamoe.explainer.prompt import Condition

TRUNCATE_WORDS = 20  # as the reference figures of the field's short-text sets
NORMALIZATION = "lowercase, punctuation split from words"


@dataclass
class Evaluation:
    """Metrics of one system on n pairs, under stated conditions; and what it said of each."""

    n: int
    conditions: dict[str, Any]
    metrics: Metrics
    explanations: list[Explanation] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As `gavamoe evaluate --json` prints it."""
        return {"n": self.n, "conditions": self.conditions, "metrics": self.metrics}


def evaluate(explainer: Explainer, reviews: pl.DataFrame, condition: Condition, about: dict[str, Any]) -> Evaluation:
    """Explain every pair of `reviews` (user, item, rating, text, and feature where known) and score the outcome.

    Users and items the model never met are among them, as unknowns. `about` (data, split, ...) joins the conditions.
    """
    if reviews.is_empty():
        raise DataError("there are no reviews to evaluate on")
    explanations = explainer.explain_batch(reviews, condition)
    ratings = np.array([explanation.rating for explanation in explanations])
    metrics = score_system(
        [explanation.text for explanation in explanations], ratings, reviews, explainer.catalog.features, explainer
    )
    conditions = {
        **about,
        "rating": condition.rating,
        "feature": condition.feature,
        "oracle": condition.oracle,
        "decoding": describe_decoding(explainer.model.generation_config),
        "normalization": NORMALIZATION,
        "truncate_words": TRUNCATE_WORDS,
        "texts": int((reviews["text"].fill_null("").str.strip_chars() != "").sum()),
        "cold_users": sum(explanation.cold_user for explanation in explanations),
        "cold_items": sum(explanation.cold_item for explanation in explanations),
        "unfinished": sum(not explanation.finished for explanation in explanations),
        "empty": sum(not explanation.text for explanation in explanations),
    }
    return Evaluation(len(reviews), conditions, metrics, explanations)


def evaluate_system(system: System, explainer: Explainer, reviews: pl.DataFrame) -> Metrics:
    """A baseline's metrics on the same rows, made comparable in the same way."""
    texts, ratings = system.predict(reviews)
    return score_system(texts, ratings, reviews, explainer.catalog.features, explainer)


def score_system(
    texts: list[str], ratings: np.ndarray, reviews: pl.DataFrame, feature_set: list[str], explainer: Explainer
) -> Metrics:
    """Text metrics over the rows with a reference text, rating errors over all rows."""
    scale = explainer.catalog.scale
    errors = score_ratings(ratings, reviews["rating"].to_numpy(), scale.values[0], scale.values[-1])
    references = reviews["text"].fill_null("").to_list()
    kept = [row for row, reference in enumerate(references) if reference.strip()]
    if not kept:
        return dict(errors)
    features = reviews["feature"].to_list() if "feature" in reviews.columns else None
    scored = score_texts(
        [comparable(texts[row]) for row in kept],
        [comparable(references[row]) for row in kept],
        [features[row] for row in kept] if features else None,
        feature_set,
    )
    return {**scored, **errors}


def describe_decoding(generation: GenerationConfig) -> str:
    """The run's way of decoding in a few words."""
    if generation.do_sample:
        return f"sampled, temperature {generation.temperature:g}, top-p {generation.top_p:g}, seed 0"
    return f"{generation.num_beams} beams" if (generation.num_beams or 1) > 1 else "greedy"


def comparable(text: str) -> str:
    """A text as it is scored: normalized, then cut."""
    return truncate(normalize(text), TRUNCATE_WORDS)
