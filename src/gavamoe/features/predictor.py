"""The feature a text may best speak of, before it is written: what item and user are spoken of for more than others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from gavamoe.errors import RunError
from gavamoe.files import reading, write_json

FILES = COUNTS, PRIOR_FILE = "features.parquet", "features.json"
SIDES = "user", "item"
# Words seen with a single item or user say little, so sightings of the corpus-wide habit are mixed in: as many of these
# as foretell each training review best from the others.
PSEUDO_COUNTS = np.geomspace(1, 1000, 13)
PAIRS_AT_ONCE, TEXTS_AT_ONCE = 4096, 100_000
# How much of the habit is taken off a feature's probability. At 0 the commonest feature is foretold of nearly every
# pair; at 1 a hit in four is lost for features that hardly anybody speaks of (docs/lab-log.md).
BACKGROUND_WEIGHT = 0.8


@dataclass(frozen=True)
class FeaturePredictor:
    """What training reviews of each user and item spoke of.

    counts: side ("user", "item"), id, feature, count: reviews that are about the feature, and reviews that name it.
    habit: feature, share: of the reviews about any feature, how many are about this one.
    mixed_in: by side, how many sightings of the habit are added to the counts of one user or item.
    """

    counts: pl.DataFrame
    background: pl.DataFrame
    pseudo_counts: dict[str, float]

    @classmethod
    def fit(cls, train: pl.DataFrame) -> FeaturePredictor:
        """From training reviews with user_id, item_id, text, feature (None where a review is about none)."""
        train = train.with_columns(pl.int_range(pl.len()).alias("row"))
        known = train.select("row", "user_id", "item_id", "feature").drop_nulls("feature")
        background = known.group_by("feature").agg(share=pl.len() / max(len(known), 1)).sort("feature")
        named = _named(train, background["feature"].to_list()).join(train.drop("feature"), on="row")
        seen = pl.concat([known, named.select(known.columns)])
        counts = pl.concat([_counts(seen, side) for side in SIDES]).sort("side", "id", "feature")
        pseudo_counts = {side: _best_strength(seen, known, background, side) for side in SIDES}
        return cls(counts, background, pseudo_counts)

    def predict(self, user_id: np.ndarray, item_id: np.ndarray) -> list[str | None]:
        """The feature of each pair whose probability exceeds `BACKGROUND_WEIGHT` times the corpus-wide share most.

        The likeliest would be the corpus' commonest nearly always, and say nothing of the pair. None when training had
        no features.
        """
        if self._share_F.size == 0:
            return [None] * len(user_id)
        features = self.background["feature"]
        predicted: list[str | None] = []
        for start in range(0, len(user_id), PAIRS_AT_ONCE):
            chunk = slice(start, start + PAIRS_AT_ONCE)
            gain_NF = self.probabilities(user_id[chunk], item_id[chunk]) - BACKGROUND_WEIGHT * self._share_F
            predicted += features.gather(gain_NF.argmax(1)).to_list()
        return predicted

    def probabilities(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Return p(f | user, item), proportional to p(f | item) p(f | user) / p(f), of each feature of `background`, [N, F]."""
        score_NF = -np.log(self._share_F)[None]
        for side, ids in (("user", user_id), ("item", item_id)):
            count_NF = self._counts_of(side, ids) + self.pseudo_counts[side] * self._share_F
            score_NF = score_NF + np.log(count_NF / count_NF.sum(1, keepdims=True))
        weight_NF = np.exp(score_NF - score_NF.max(1, keepdims=True))
        return weight_NF / weight_NF.sum(1, keepdims=True)

    @cached_property
    def _share_F(self) -> np.ndarray:
        return self.background["share"].to_numpy()

    @cached_property
    def _by_side(self) -> dict[str, pl.DataFrame]:
        known = self.counts.filter(pl.col("id") > 0).sort("id")
        return {side: known.filter(pl.col("side") == side) for side in SIDES}

    def _counts_of(self, side: str, ids: np.ndarray) -> np.ndarray:
        """[len(ids), F]; an unknown user or item, id 0, has none."""
        unique, position = np.unique(ids, return_inverse=True)
        rows = self._by_side[side].filter(pl.col("id").is_in(unique.tolist()))
        column = self.background["feature"].search_sorted(rows["feature"]).to_numpy()
        count_UF = np.zeros((len(unique), len(self.background)))
        count_UF[np.searchsorted(unique, rows["id"].to_numpy()), column] = rows["count"].to_numpy()
        return count_UF[position]

    def save(self, directory: Path) -> None:
        """Write features.parquet and features.json."""
        self.counts.write_parquet(directory / COUNTS)
        background = dict(zip(self.background["feature"].to_list(), self.background["share"].to_list(), strict=True))
        write_json(directory / PRIOR_FILE, {"mixed_in": self.pseudo_counts, "habit": background})

    @classmethod
    def load(cls, directory: Path) -> FeaturePredictor:
        """Read what `save` wrote; `RunError` when it is not there, or damaged."""
        for name in FILES:
            if not (directory / name).is_file():
                raise RunError(f"the run {directory.parent} is not complete: {directory.name}/{name} is missing")
        with reading(directory / PRIOR_FILE):
            kept = json.loads((directory / PRIOR_FILE).read_text(encoding="utf-8"))
            shares = {"feature": list(kept["habit"]), "share": list(kept["habit"].values())}
            background = pl.DataFrame(shares, schema={"feature": pl.String, "share": pl.Float64})
            pseudo_counts = {side: float(kept["mixed_in"][side]) for side in SIDES}
        with reading(directory / COUNTS):
            counts = pl.read_parquet(directory / COUNTS).select("side", "id", "feature", "count")
        return cls(counts, background, pseudo_counts)


def _named(train: pl.DataFrame, features: list[str]) -> pl.DataFrame:
    """row, feature: which texts name which features, as whole words, whatever their case; each once a text."""
    found = [pl.DataFrame(schema={"row": pl.Int64, "feature": pl.String})]
    spelt = pl.DataFrame({"feature": features}, schema={"feature": pl.String})
    spelt = spelt.with_columns(spelling=_spelt(pl.col("feature"))).filter(pl.col("spelling").str.strip_chars() != "")
    texts = train.select("row", text=_spelt(pl.col("text").fill_null("")))
    for rows in texts.iter_slices(TEXTS_AT_ONCE) if len(spelt) else ():
        hits = pl.col("text").str.extract_many(spelt["spelling"].to_list(), overlapping=True)
        named = rows.select("row", spelling=hits).explode("spelling", empty_as_null=True).drop_nulls().unique()
        found.append(named.join(spelt, on="spelling").select("row", "feature"))
    return pl.concat(found)


def _spelt(text: pl.Expr) -> pl.Expr:
    """Words in lower case with one blank around each."""
    return " " + text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars() + " "


def _counts(seen: pl.DataFrame, side: str) -> pl.DataFrame:
    return (
        seen.group_by(pl.col(f"{side}_id").cast(pl.Int64).alias("id"), "feature")
        .agg(count=pl.len().cast(pl.Int64))
        .select(pl.lit(side).alias("side"), "id", "feature", "count")
    )


def _best_strength(seen: pl.DataFrame, about: pl.DataFrame, background: pl.DataFrame, side: str) -> float:
    """How many sightings of the habit foretell what each review is about best from the side's other reviews."""
    identity = f"{side}_id"
    # What a review itself adds to the counts of its user or item does not foretell it.
    of_feature, of_all = (seen.group_by(keys).agg(n=pl.len()) for keys in ([identity, "feature"], [identity]))
    own_feature, own_all = (seen.group_by(keys).agg(own=pl.len()) for keys in (["row", "feature"], ["row"]))
    rows = (
        about.join(of_feature, on=[identity, "feature"])
        .join(of_all, on=identity, suffix="_all")
        .join(own_feature, on=["row", "feature"])
        .join(own_all, on="row", suffix="_all")
        .join(background, on="feature")
        .select("share", count=pl.col("n") - pl.col("own"), total=pl.col("n_all") - pl.col("own_all"))
    )
    share, count, total = (rows[name].to_numpy() for name in ("share", "count", "total"))
    likelihood = [np.log((count + s * share) / (total + s)).sum() for s in PSEUDO_COUNTS]
    return float(PSEUDO_COUNTS[int(np.argmax(likelihood))])
