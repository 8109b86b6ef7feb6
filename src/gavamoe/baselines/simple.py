"""Baselines that are computed by counting: a trained model should be better than they are.

ItemMode         the item's mean rating and its most frequent sentence
RandomSentence   the item's mean rating and a random sentence of the item
GlobalMean       the mean rating of all reviews; no text
Biases           the global mean plus user and item bias; no text
"""

from __future__ import annotations

import numpy as np
import polars as pl

from gavamoe.baselines.base import Predictions, RefittedSystem
from gavamoe.baselines.data import TextData
from gavamoe.conditions import Condition
from gavamoe.data.dataset import HAS_TEXT
from gavamoe.data.scale import RatingScale

BIAS_DAMPING = 3  # pseudo-count that shrinks a bias towards 0; on real reviews 2 to 4 predict equally well
BIAS_ROUNDS = 10


class ItemMode(RefittedSystem):
    """The item's mean rating with its most frequent sentence; for an unknown item, those of all reviews."""

    def train(self, data: TextData, seed: int) -> None:
        """Count the sentences of each item; ties go to the sentence that sorts first."""
        reviews = data.train.filter(HAS_TEXT)
        ranked = (
            reviews.group_by("item_id", "text").len().sort(["item_id", "len", "text"], descending=[False, True, False])
        )
        texts = dict(ranked.group_by("item_id", maintain_order=True).first().select("item_id", "text").iter_rows())
        overall = reviews.group_by("text").len().sort(["len", "text"], descending=[True, False])
        texts[0] = overall["text"][0] if len(overall) else ""
        self.texts_: dict[int, str] = texts
        self.ratings_ = _item_means(data.train, data.scale)

    def predict(self, pairs: pl.DataFrame, condition: Condition) -> Predictions:
        """Look up the sentence and the mean rating of each pair's item."""
        items = pairs["item_id"].to_list()
        return Predictions([self.texts_.get(item, self.texts_[0]) for item in items], _look_up(self.ratings_, items))


class RandomSentence(RefittedSystem):
    """A random training sentence of the item, and the item's mean rating; the seed decides the sentence."""

    def train(self, data: TextData, seed: int) -> None:
        """Collect the sentences of each item."""
        reviews = data.train.filter(HAS_TEXT)
        texts = dict(reviews.group_by("item_id", maintain_order=True).agg("text").iter_rows())
        texts[0] = reviews["text"].to_list() or [""]
        self.texts_: dict[int, list[str]] = texts
        self.ratings_ = _item_means(data.train, data.scale)
        self.seed_ = seed

    def predict(self, pairs: pl.DataFrame, condition: Condition) -> Predictions:
        """Draw a sentence for each pair; the same pairs in the same order always get the same sentences."""
        rng = np.random.default_rng(self.seed_)
        items = pairs["item_id"].to_list()
        choices = [self.texts_.get(item, self.texts_[0]) for item in items]
        return Predictions([texts[rng.integers(len(texts))] for texts in choices], _look_up(self.ratings_, items))


class GlobalMean(RefittedSystem):
    """The mean rating of all training reviews for every pair; it writes no texts."""

    def train(self, data: TextData, seed: int) -> None:
        """Average the training ratings."""
        self.rating_ = float(np.mean(data.scale.to_rating(data.train["level"].to_numpy())))

    def predict(self, pairs: pl.DataFrame, condition: Condition) -> Predictions:
        """Return the mean for every pair."""
        return Predictions(None, np.full(len(pairs), self.rating_))


class Biases(RefittedSystem):
    """The global mean plus a user and an item bias (Koren 2010, regularised); it writes no texts.

    The bias of an unknown user or item is 0.
    """

    def train(self, data: TextData, seed: int) -> None:
        """Estimate item and user biases in alternation, each from the residuals of the other."""
        rating = pl.Series(data.scale.to_rating(data.train["level"].to_numpy()))
        self.mean_ = float(rating.mean())  # type: ignore[arg-type]
        rated = data.train.select(
            "user_id", "item_id", residual=rating - self.mean_, user=pl.lit(0.0), item=pl.lit(0.0)
        )
        for _ in range(BIAS_ROUNDS):
            for side, other in (("item", "user"), ("user", "item")):
                residual = pl.col("residual") - pl.col(other)
                bias = residual.sum() / (pl.len() + BIAS_DAMPING)
                rated = rated.with_columns(bias.over(f"{side}_id").alias(side))
        self.users_, self.items_ = (
            dict(rated.select(f"{side}_id", side).unique().filter(pl.col(f"{side}_id") != 0).iter_rows())
            for side in ("user", "item")
        )

    def predict(self, pairs: pl.DataFrame, condition: Condition) -> Predictions:
        """Add the biases of user and item to the mean."""
        ids = zip(pairs["user_id"].to_list(), pairs["item_id"].to_list(), strict=True)
        ratings = [self.mean_ + self.users_.get(user, 0.0) + self.items_.get(item, 0.0) for user, item in ids]
        return Predictions(None, np.array(ratings))


def _item_means(train: pl.DataFrame, scale: RatingScale) -> dict[int, float]:
    """Return the mean rating by item id; under id 0, that of all reviews."""
    rated = train.select("item_id", rating=pl.Series(scale.to_rating(train["level"].to_numpy())))
    means = dict(rated.group_by("item_id").agg(pl.col("rating").mean()).iter_rows())
    return {**means, 0: float(rated["rating"].mean())}  # type: ignore[arg-type]


def _look_up(ratings: dict[int, float], items: list[int]) -> np.ndarray:
    return np.array([ratings.get(item, ratings[0]) for item in items])
