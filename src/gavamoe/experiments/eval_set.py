"""What every system of a comparison is asked and scored on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from gavamoe.baselines.base import Predictions
from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import DataError
from gavamoe.evaluation.comparable import comparable_outputs, features_of_items
from gavamoe.evaluation.groups import SparsityGroups
from gavamoe.evaluation.outputs import Outputs


@dataclass(frozen=True)
class EvalSet:
    """The reviews of one split, and what is known of their users and items from training.

    Args:
        item_features: for each review, the features that training texts of its item name; None without features.
    """

    split: str
    reviews: pl.DataFrame
    catalog: Catalog
    item_features: list[Collection[str]] | None

    @classmethod
    def of(cls, dataset: ReviewDataset, split: str) -> EvalSet:
        """Raises `DataError` where the split has no rows."""
        reviews = dataset.interactions(split)
        if reviews.is_empty():
            raise DataError(f"{dataset.path} has no rows of split '{split}'")
        catalog = dataset.catalog
        return cls(split, reviews, catalog, features_of_items(dataset.interactions("train"), reviews, catalog.features))

    def outputs(self, answers: Predictions) -> Outputs:
        """A system's answers beside the truth: texts normalised and cut alike, whoever wrote them."""
        return comparable_outputs(answers.texts, answers.ratings, self.reviews, self.catalog, self.item_features)

    def sparsity(self) -> list[str]:
        """The group of each review by how many training reviews its user has."""
        counts = self.catalog.user_counts
        return SparsityGroups.fit(counts[counts > 0]).labels(self.catalog.training_reviews(self.reviews))
