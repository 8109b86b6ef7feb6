"""The reviews that systems are evaluated on, and how their predictions are scored: the same way for every system."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from gavamoe.baselines.base import Predictions
from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.tables import sample_rows
from gavamoe.errors import DataError
from gavamoe.evaluation.bounds import Bounds, measure_bounds
from gavamoe.evaluation.comparable import comparable_outputs, features_of_items, has_text
from gavamoe.evaluation.groups import SparsityGroups
from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import RowScores
from gavamoe.evaluation.score import PAIR_METRICS, RATING_METRICS, STANDARD_METRICS, further_metrics
from gavamoe.evaluation.training_texts import TrainingTexts


@dataclass(frozen=True)
class EvalSet:
    """Reviews with user_id and item_id, and what the training reviews say of their users and items.

    Args:
        reviews: one row per pair with user, item, rating, text, and feature where known.
        catalog: what the ids refer to.
        item_features: for each row, the features that training texts of its item name; None if that is unknown.
        split: the split that the reviews are from; empty when they are from none.
        training: the training texts; None if they are not available.
    """

    reviews: pl.DataFrame
    catalog: Catalog
    item_features: list[Collection[str]] | None = None
    split: str = ""
    training: TrainingTexts | None = None

    @classmethod
    def from_reviews(
        cls, reviews: pl.DataFrame, catalog: Catalog, train: pl.DataFrame | None = None, split: str = ""
    ) -> EvalSet:
        """Make an evaluation set; the training reviews tell which features can be named of an item."""
        features = None if train is None else features_of_items(train, reviews, catalog.features)
        training = None if train is None else TrainingTexts.from_reviews(train, catalog.extractor)
        return cls(reviews, catalog, features, split, training)

    @classmethod
    def from_dataset(cls, dataset: ReviewDataset, split: str, limit: int | None = None) -> EvalSet:
        """Read a split of a prepared dataset, or at most `limit` of its reviews, drawn at random.

        Raises:
            DataError: the split has no rows.
        """
        reviews = dataset.interactions(split)
        if reviews.is_empty():
            raise DataError(f"{dataset.path} has no rows of split '{split}'")
        if limit is not None:
            reviews = sample_rows(reviews, limit)
        return cls.from_reviews(reviews, dataset.catalog, dataset.interactions("train"), split)

    def outputs(self, predictions: Predictions) -> Outputs:
        """Return predictions beside the references, with all texts normalised and truncated alike."""
        return comparable_outputs(
            predictions.texts, predictions.ratings, self.reviews, self.catalog, self.item_features, self.training
        )

    @cached_property
    def bounds(self) -> dict[str, Bounds]:
        """Floors and ceilings of the metrics that know the right item and user; empty without training texts."""
        if self.training is None or not self.has_texts:
            return {}
        return measure_bounds(self.outputs(Predictions([""] * len(self.reviews), None)))

    def score(self, predictions: Predictions, metrics: Sequence[Metric]) -> RowScores:
        """Return the row statistics of predictions under some metrics."""
        return RowScores(self.outputs(predictions), metrics)

    def training_reviews(self) -> list[int]:
        """Return for each row the number of training reviews of its user."""
        return self.catalog.training_reviews(self.reviews)

    def sparsity_labels(self) -> list[str]:
        """Return for each row the group of its user by number of training reviews."""
        counts = self.catalog.user_counts
        return SparsityGroups.fit(counts[counts > 0]).labels(self.training_reviews())

    def item_sparsity_labels(self) -> list[str]:
        """Return for each row the group of its item by number of training reviews."""
        counts = self.catalog.item_counts
        return SparsityGroups.fit(counts[counts > 0]).labels(counts[self.reviews["item_id"].to_numpy()].tolist())

    @property
    def has_texts(self) -> bool:
        """Whether any row has a text to compare texts with."""
        return bool(has_text(self.reviews).any())

    def metrics_of(self, predictions: Predictions) -> tuple[Metric, ...]:
        """Return the metrics that predictions can have here: those of texts need a text on both sides."""
        return all_metrics() if predictions.texts is not None and self.has_texts else RATING_METRICS

    def reference_rows(self) -> list[dict[str, Any]]:
        """Return user, item, reference, rating and feature of each row, as predictions.jsonl has them."""
        known = "feature" in self.reviews.columns
        return self.reviews.select(
            pl.col("user", "item"),
            reference=pl.col("text").fill_null(""),
            rating="rating",
            feature="feature" if known else pl.lit(None, dtype=pl.String),
        ).to_dicts()


def all_metrics() -> tuple[Metric, ...]:
    """Return the metrics of the field's tables, those of the right item and user, and the further ones."""
    return (*STANDARD_METRICS, *PAIR_METRICS, *further_metrics())
