"""The feature a text is likely to speak of, before it is written: what the item's reviews, and the user's, spoke of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from gavamoe.errors import RunError

FILE = "features.parquet"
# Words seen with a single item or user say little; so many sightings of the corpus-wide habit are mixed in.
PRIOR_STRENGTH = 5.0


@dataclass
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
                counts = self._counts(side, ids, vocabulary) + PRIOR_STRENGTH * base
                score = score + np.log(counts / counts.sum(1, keepdims=True))
            predictions += vocabulary.gather(score.argmax(1)).to_list()
        return predictions

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
