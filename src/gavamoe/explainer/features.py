"""The feature a text is likely to speak of, before it is written: what the item's reviews, and the user's, spoke of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from gavamoe.errors import RunError

FILE = "features.parquet"
# Words seen with a single item or user say little, so sightings of the corpus-wide habit are mixed in: as many of these
# as foretell each training review best from the others.
STRENGTHS = np.geomspace(1, 1000, 13)


@dataclass(frozen=True)
class FeaturePredictor:
    """Counts of (user_id, feature) and (item_id, feature) in training: side, id, feature, count."""

    counts: pl.DataFrame

    @classmethod
    def fit(cls, train: pl.DataFrame) -> FeaturePredictor:
        """From training reviews with user_id, item_id, feature (rows without a feature do not count)."""
        known = train.filter(pl.col("feature").is_not_null())
        sides = [
            known.group_by(pl.col(f"{side}_id").cast(pl.Int64).alias("id"), "feature")
            .agg(count=pl.len().cast(pl.Int64))
            .select(pl.lit(side).alias("side"), "id", "feature", "count")
            for side in ("user", "item")
        ]
        return cls(pl.concat(sides).sort("side", "id", "feature"))

    def predict(self, user_id: np.ndarray, item_id: np.ndarray) -> list[str | None]:
        """The likeliest feature of each pair, p(f | item) p(f | user) / p(f); None when training had no features."""
        vocabulary = self.counts["feature"].unique().sort()
        if vocabulary.is_empty():
            return [None] * len(user_id)
        base = self._counts("item", np.arange(1), vocabulary, total=True)[0]
        base = base / base.sum()
        predictions: list[str | None] = []
        for start in range(0, len(user_id), 4096):  # [4096, features] at a time
            chunk = slice(start, start + 4096)
            score = -np.log(base)[None]
            for side, ids in (("user", user_id[chunk]), ("item", item_id[chunk])):
                counts = self._counts(side, ids, vocabulary) + self._strength[side] * base
                score = score + np.log(counts / counts.sum(1, keepdims=True))
            predictions += vocabulary.gather(score.argmax(1)).to_list()
        return predictions

    @cached_property
    def _strength(self) -> dict[str, float]:
        """By side, the number of sightings to mix in with the highest leave-one-out likelihood on training."""
        items = self.counts.filter(pl.col("side") == "item")
        habit = items.group_by("feature").agg(share=pl.col("count").sum() / items["count"].sum())
        found = {}
        for side in ("user", "item"):
            rows = self.counts.filter(pl.col("side") == side).join(habit, on="feature")
            count, share = rows["count"].to_numpy(), rows["share"].to_numpy()
            of_id = rows.select(pl.col("count").sum().over("id"))["count"].to_numpy()
            likelihood = [
                (count * np.log((count - 1 + strength * share) / (of_id - 1 + strength))).sum()
                for strength in STRENGTHS
            ]
            found[side] = float(STRENGTHS[int(np.argmax(likelihood))])
        return found

    def _counts(self, side: str, ids: np.ndarray, vocabulary: pl.Series, total: bool = False) -> np.ndarray:
        """Counts [len(ids), features]; with `total`, one row over all ids."""
        of_side = self.counts.filter(pl.col("side") == side)
        unique, position = np.unique(ids, return_inverse=True)
        rows = of_side if total else of_side.filter(pl.col("id").is_in(unique.tolist()) & (pl.col("id") > 0))
        column = vocabulary.search_sorted(rows["feature"]).to_numpy()
        row = np.zeros(len(rows), dtype=np.int64) if total else np.searchsorted(unique, rows["id"].to_numpy())
        counts = np.zeros((1 if total else len(unique), len(vocabulary)))
        np.add.at(counts, (row, column), rows["count"].to_numpy())
        return counts if total else counts[position]

    def save(self, directory: Path) -> None:
        """Write features.parquet."""
        self.counts.write_parquet(directory / FILE)

    @classmethod
    def load(cls, directory: Path) -> FeaturePredictor:
        """Read what `save` wrote; `RunError` when it is not there."""
        if not (directory / FILE).is_file():
            raise RunError(f"the run {directory.parent} is not complete: {directory.name}/{FILE} is missing")
        return cls(pl.read_parquet(directory / FILE))
