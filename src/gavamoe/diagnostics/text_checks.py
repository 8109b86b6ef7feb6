"""Figures of the texts that a run wrote in its last evaluation, from its predictions.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from gavamoe.data.catalog import Catalog
from gavamoe.evaluation.comparable import comparable_outputs, features_of_items
from gavamoe.evaluation.metrics.coherence import METRICS as COHERENCE
from gavamoe.evaluation.metrics.coherence import MIN_RATED
from gavamoe.evaluation.metrics.hallucination import unsupported_features
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import RowScores

LEAST_COHERENCE = 0.1  # of references with their ratings, for a ratio to be meaningful
FEWEST_TEXTS = 20  # with fewer, the share of distinct texts says nothing


@dataclass(frozen=True)
class TextFigures:
    """Figures of predictions; in place of a figure that does not exist, a string says why.

    Args:
        texts: number of predictions with a reference.
        distinct: share of distinct predictions, divided by that of the references.
        coherence: correlation of the texts' sentiment with the predicted rating, divided by that of the references with
            their own ratings.
        hallucination: share of named features without support in the item's training reviews, minus that of the
            references.
    """

    texts: int
    distinct: float | str
    coherence: float | str
    hallucination: float | str


def text_figures(rows: Sequence[dict[str, Any]], catalog: Catalog, train: pl.DataFrame) -> TextFigures | str:
    """Return the figures of predictions, or why there are none.

    Args:
        rows: the rows of predictions.jsonl: user, item, prediction, reference, rating, predicted_rating, feature.
        catalog: of the run.
        train: training reviews, which tell the features of each item.
    """
    rows = [row for row in rows if str(row.get("reference") or "").strip() and row.get("prediction") is not None]
    if len(rows) < FEWEST_TEXTS:
        return f"the run's predictions have {len(rows)} texts with a reference, and {FEWEST_TEXTS} are needed"
    reviews = _reviews(rows, catalog)
    features = features_of_items(train, reviews, catalog.features)
    ratings = np.array([_number(row.get("predicted_rating")) for row in rows])
    own = comparable_outputs([str(row["prediction"]) for row in rows], ratings, reviews, catalog, features)
    people = comparable_outputs(reviews["text"].to_list(), reviews["rating"].to_numpy(), reviews, catalog, features)
    return TextFigures(
        texts=len(rows),
        distinct=_distinct(own) / _distinct(people),
        coherence=_relative_coherence(own, people),
        hallucination=_hallucination(own, people),
    )


def _reviews(rows: Sequence[dict[str, Any]], catalog: Catalog) -> pl.DataFrame:
    """Return the references as reviews with the catalog's ids."""
    return pl.DataFrame(
        {
            "user": [str(row.get("user")) for row in rows],
            "item": [str(row.get("item")) for row in rows],
            "item_id": [catalog.item_id(str(row.get("item"))) for row in rows],
            "rating": [_number(row.get("rating")) for row in rows],
            "text": [str(row["reference"]) for row in rows],
            "feature": [row.get("feature") for row in rows],
        },
        schema_overrides={"feature": pl.String, "rating": pl.Float64},
    )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _distinct(outputs: Outputs) -> float:
    return len({tuple(words) for words in outputs.predictions}) / len(outputs)


def _relative_coherence(own: Outputs, people: Outputs) -> float | str:
    of_people = _coherence(people)
    if of_people is None:
        return f"a model of sentiment needs {MIN_RATED} rated texts that repeat words, and ratings that differ"
    if of_people < LEAST_COHERENCE:
        return f"the references themselves hardly tell their ratings (correlation {of_people:.2f})"
    # Equal ratings or equal texts have no correlation: the texts say nothing of the rating.
    return (_coherence(own) or 0.0) / of_people


def _coherence(outputs: Outputs) -> float | None:
    return RowScores(outputs, COHERENCE).overall().get(COHERENCE[0].name)


def _hallucination(own: Outputs, people: Outputs) -> float | str:
    shares = []
    for outputs in (own, people):
        counts = unsupported_features(outputs)
        if counts is None:
            return "the data has no features"
        if counts[:, 1].sum() == 0:
            return "the predictions name no feature" if outputs is own else "the references name no feature"
        shares.append(counts[:, 0].sum() / counts[:, 1].sum())
    return float(shares[0] - shares[1])
