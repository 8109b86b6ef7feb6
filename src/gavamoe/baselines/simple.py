"""The baselines anyone can compute: what a model must beat before it has learned anything about the pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl

from gavamoe.data.scale import RatingScale

# A bias is shrunk as if this many reviews had spoken for 0; on real reviews 2 to 4 predict equally well.
BIAS_DAMPING = 3
BIAS_ROUNDS = 10


class System(Protocol):
    """Anything that writes a text and predicts a rating for each pair."""

    name: str

    def predict(self, pairs: pl.DataFrame) -> tuple[list[str], np.ndarray]:
        """Texts, and ratings on the scale of the source, for rows with user_id and item_id."""


@dataclass
class ItemMode:
    """The item's mean rating with its most frequent sentence; for an unknown item, those of all reviews."""

    texts: dict[int, str]
    ratings: dict[int, float]
    name: str = "item mean, most frequent sentence"

    @classmethod
    def fit(cls, train: pl.DataFrame, scale: RatingScale) -> ItemMode:
        """From training reviews with item_id, level, text; ties go to the sentence that sorts first."""
        known = train.filter(pl.col("text") != "")
        ranked = (
            known.group_by("item_id", "text").len().sort(["item_id", "len", "text"], descending=[False, True, False])
        )
        texts = dict(ranked.group_by("item_id", maintain_order=True).first().select("item_id", "text").iter_rows())
        overall = known.group_by("text").len().sort(["len", "text"], descending=[True, False])
        texts[0] = overall["text"][0] if len(overall) else ""
        return cls(texts, _item_means(train, scale))

    def predict(self, pairs: pl.DataFrame) -> tuple[list[str], np.ndarray]:
        """As `System.predict`."""
        items = pairs["item_id"].to_list()
        return [self.texts.get(item, self.texts[0]) for item in items], _look_up(self.ratings, items)


@dataclass
class RandomSentence:
    """A random training sentence of the item, and the item's mean rating; seeded."""

    texts: dict[int, list[str]]
    ratings: dict[int, float]
    seed: int = 0
    name: str = "random sentence of the item"

    @classmethod
    def fit(cls, train: pl.DataFrame, scale: RatingScale, seed: int = 0) -> RandomSentence:
        """From training reviews with item_id, level, text."""
        known = train.filter(pl.col("text") != "")
        texts = dict(known.group_by("item_id", maintain_order=True).agg("text").iter_rows())
        texts[0] = known["text"].to_list() or [""]
        return cls(texts, _item_means(train, scale), seed)

    def predict(self, pairs: pl.DataFrame) -> tuple[list[str], np.ndarray]:
        """As `System.predict`."""
        rng = np.random.default_rng(self.seed)
        items = pairs["item_id"].to_list()
        choices = [self.texts.get(item, self.texts[0]) for item in items]
        return [texts[rng.integers(len(texts))] for texts in choices], _look_up(self.ratings, items)


@dataclass
class GlobalMean:
    """One rating for all; writes nothing."""

    rating: float
    name: str = "global mean"

    @classmethod
    def fit(cls, train: pl.DataFrame, scale: RatingScale) -> GlobalMean:
        """From training reviews with level."""
        return cls(float(np.mean(scale.to_rating(train["level"].to_numpy()))))

    def predict(self, pairs: pl.DataFrame) -> tuple[list[str], np.ndarray]:
        """As `System.predict`."""
        return [""] * len(pairs), np.full(len(pairs), self.rating)


@dataclass
class Biases:
    """The global mean plus what the user and the item usually add to it (Koren 2010, regularised); writes nothing.

    An unknown user or item adds nothing.
    """

    mean: float
    users: dict[int, float]
    items: dict[int, float]
    name: str = "user and item bias"

    @classmethod
    def fit(cls, train: pl.DataFrame, scale: RatingScale) -> Biases:
        """From training reviews with user_id, item_id, level: each side by turns from what the other leaves."""
        rating = pl.Series(scale.to_rating(train["level"].to_numpy()))
        mean = float(rating.mean())  # type: ignore[arg-type]
        rated = train.select("user_id", "item_id", left=rating - mean, user=pl.lit(0.0), item=pl.lit(0.0))
        for _ in range(BIAS_ROUNDS):
            for side, other in (("item", "user"), ("user", "item")):
                left = pl.col("left") - pl.col(other)
                rated = rated.with_columns((left.sum() / (pl.len() + BIAS_DAMPING)).over(f"{side}_id").alias(side))
        users, items = (
            dict(rated.select(f"{side}_id", side).unique().filter(pl.col(f"{side}_id") != 0).iter_rows())
            for side in ("user", "item")
        )
        return cls(mean, users, items)

    def predict(self, pairs: pl.DataFrame) -> tuple[list[str], np.ndarray]:
        """As `System.predict`."""
        ids = zip(pairs["user_id"].to_list(), pairs["item_id"].to_list(), strict=True)
        ratings = [self.mean + self.users.get(user, 0.0) + self.items.get(item, 0.0) for user, item in ids]
        return [""] * len(pairs), np.array(ratings)


def _item_means(train: pl.DataFrame, scale: RatingScale) -> dict[int, float]:
    rated = train.select("item_id", rating=pl.Series(scale.to_rating(train["level"].to_numpy())))
    means = dict(rated.group_by("item_id").agg(pl.col("rating").mean()).iter_rows())
    return {**means, 0: float(rated["rating"].mean())}  # type: ignore[arg-type]


def _look_up(ratings: dict[int, float], items: list[int]) -> np.ndarray:
    return np.array([ratings.get(item, ratings[0]) for item in items])
