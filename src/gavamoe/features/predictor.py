"""Predict the feature of a (user, item) pair's text before it is written, from what their training reviews mention.

A smoothed naive Bayes estimate over F features:

    background     p(f)     = share of the training reviews with a feature whose feature is f
    user, item     p(f | u) = (n_uf + s p(f)) / (n_u + s), and p(f | i) in the same way
    pair           p(f | u, i) proportional to p(f | u) p(f | i) / p(f)

n_uf counts the mentions of f in the reviews of u, and n_u all mentions in them. p(f | u) is the posterior mean of a
categorical distribution under a Dirichlet prior: its mean is the background and its concentration is s, the
pseudo-count. Users and items are taken as conditionally independent given the feature. There is one s for users and
one for items, chosen by leave-one-out likelihood.

Array suffixes: N pairs, F features (in the order of the background), U distinct ids.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from gavamoe.errors import RunError
from gavamoe.files import reading, write_json

FILES = COUNTS, PRIOR_FILE = "features.parquet", "features.json"
SIDES = "user", "item"
# Candidates for the pseudo-count. A feature mentioned with a single item or user says little, so the estimate is
# smoothed towards the background distribution.
PSEUDO_COUNT_GRID = np.geomspace(1, 1000, 13)
PAIRS_PER_CHUNK, TEXTS_PER_CHUNK = 4096, 100_000
# Share of the background probability that `predict` subtracts from a feature's probability. At 0 the most common
# feature is predicted for nearly every pair. At 1 a quarter of the hits is lost to features that hardly any review
# mentions (docs/lab-log.md).
BACKGROUND_WEIGHT = 0.8


@dataclass(frozen=True)
class FeatureCounts:
    """Feature counts of the users or of the items, sorted by id, so that the rows of an id are found without a scan.

    Args:
        table: id, feature, count; sorted by id.
    """

    table: pl.DataFrame

    @classmethod
    def of_side(cls, counts: pl.DataFrame, side: str) -> FeatureCounts:
        """Return the counts of the known users or items, as `FeaturePredictor.counts` has them for both."""
        known = counts.filter((pl.col("side") == side) & (pl.col("id") > 0))
        return cls(known.sort("id", maintain_order=True).select("id", "feature", "count"))

    @cached_property
    def _id(self) -> np.ndarray:
        return self.table["id"].to_numpy()

    def rows_of(self, ids: np.ndarray) -> tuple[pl.DataFrame, np.ndarray]:
        """Return the rows of distinct ids [U], one id after the other, and the place in `ids` of the id of each row."""
        start_U, end_U = (np.searchsorted(self._id, ids, side) for side in ("left", "right"))
        length_U = end_U - start_U
        owner = np.repeat(np.arange(len(ids)), length_U)
        rows = np.arange(len(owner)) + np.repeat(start_U - (length_U.cumsum() - length_U), length_U)
        return self.table[rows], owner


@dataclass(frozen=True)
class FeaturePredictor:
    """Feature counts of the users and items of the training split, and the prior that smooths them.

    Args:
        counts: side ("user", "item"), id, feature, count: how often the reviews of this user or item have the feature
            in their feature column, plus how often their texts name it.
        background: feature, share: the background distribution, over the reviews that have a feature; sorted by name.
        pseudo_counts: by side, the weight of the background distribution, as a number of mentions.
        by_side: the counts of the known users and of the known items.
        of_guests: the counts of users whom training does not know (`with_mixed_users`).
    """

    counts: pl.DataFrame
    background: pl.DataFrame
    pseudo_counts: dict[str, float]
    by_side: dict[str, FeatureCounts]
    of_guests: FeatureCounts | None = None

    @classmethod
    def from_counts(
        cls, counts: pl.DataFrame, background: pl.DataFrame, pseudo_counts: dict[str, float]
    ) -> FeaturePredictor:
        """Return the predictor of counts for both sides."""
        return cls(counts, background, pseudo_counts, {side: FeatureCounts.of_side(counts, side) for side in SIDES})

    @classmethod
    def fit(cls, train: pl.DataFrame) -> FeaturePredictor:
        """Count the features of training reviews and choose the pseudo-counts.

        Args:
            train: reviews with user_id, item_id, text, feature (null if a review has none).
        """
        train = train.with_columns(pl.int_range(pl.len()).alias("row"))
        known = train.select("row", "user_id", "item_id", "feature").drop_nulls("feature")
        background = known.group_by("feature").agg(share=pl.len() / max(len(known), 1)).sort("feature")
        named = _named_features(train, background["feature"].to_list()).join(train.drop("feature"), on="row")
        mentions = pl.concat([known, named.select(known.columns)])
        counts = pl.concat([_count_features(mentions, side) for side in SIDES]).sort("side", "id", "feature")
        pseudo_counts = {side: _choose_pseudo_count(mentions, known, background, side) for side in SIDES}
        return cls.from_counts(counts, background, pseudo_counts)

    def with_mixed_users(self, first_id: int, mixtures: Sequence[tuple[np.ndarray, np.ndarray]]) -> FeaturePredictor:
        """Return a predictor that knows further users, whose counts are weighted means of known users' counts.

        Args:
            first_id: id of the first further user; the others follow.
            mixtures: for each further user, ids of known users [U] and their weights [U], which sum to 1.
        """
        mixed = []
        for number, (ids, weights) in enumerate(mixtures):
            order = np.argsort(ids)
            rows, owner = self.by_side["user"].rows_of(ids[order])
            weighted = rows.with_columns(pl.col("count") * pl.Series(weights[order].astype(np.float64)[owner]))
            mean = weighted.group_by("feature", maintain_order=True).agg(pl.col("count").sum()).sort("feature")
            mixed.append(mean.select(pl.lit(first_id + number, dtype=pl.Int64).alias("id"), "feature", "count"))
        return replace(self, of_guests=FeatureCounts(pl.concat(mixed)))

    def predict(self, user_id: np.ndarray, item_id: np.ndarray) -> list[str | None]:
        """Predict the feature of each pair: argmax over f of p(f | u, i) - BACKGROUND_WEIGHT p(f).

        The most probable feature would nearly always be the most common one of the corpus, which says nothing about
        the pair.

        Args:
            user_id: [N] user ids; 0 is unknown.
            item_id: [N] item ids; 0 is unknown.

        Returns:
            N features; None if training had no features.
        """
        if self._share_F.size == 0:
            return [None] * len(user_id)
        features = self.background["feature"]
        predicted: list[str | None] = []
        for start in range(0, len(user_id), PAIRS_PER_CHUNK):
            chunk = slice(start, start + PAIRS_PER_CHUNK)
            predicted += features.gather(self._gains(user_id[chunk], item_id[chunk]).argmax(1)).to_list()
        return predicted

    def strongest(self, user_id: int, item_id: int, count: int) -> list[str]:
        """Return up to `count` features of a pair that exceed their share of the background most, strongest first."""
        if self._share_F.size == 0:
            return []
        gain_F = self._gains(np.array([user_id]), np.array([item_id]))[0]
        best = (-gain_F).argsort(kind="stable")[:count]
        return self.background["feature"].gather(best[gain_F[best] > 0]).to_list()

    def _gains(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Return p(f | u, i) - BACKGROUND_WEIGHT p(f) for [N] pairs and each feature of `background`, [N, F]."""
        return self.probabilities(user_id, item_id) - BACKGROUND_WEIGHT * self._share_F

    def probabilities(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Return p(f | u, i) for [N] pairs and each feature of `background`, [N, F]; the rows sum to 1."""
        score_NF = -np.log(self._share_F)[None]
        for side, ids in (("user", user_id), ("item", item_id)):
            count_NF = self._gather_counts(side, ids) + self.pseudo_counts[side] * self._share_F
            score_NF = score_NF + np.log(count_NF / count_NF.sum(1, keepdims=True))
        weight_NF = np.exp(score_NF - score_NF.max(1, keepdims=True))
        return weight_NF / weight_NF.sum(1, keepdims=True)

    @cached_property
    def _share_F(self) -> np.ndarray:
        return self.background["share"].to_numpy()

    def _gather_counts(self, side: str, ids: np.ndarray) -> np.ndarray:
        """Return the counts of users or items, [len(ids), F]; all 0 for the unknown id 0."""
        unique, position = np.unique(ids, return_inverse=True)
        count_UF = np.zeros((len(unique), len(self.background)))
        guests = [self.of_guests] if side == "user" and self.of_guests is not None else []
        for counts in (self.by_side[side], *guests):
            rows, owner = counts.rows_of(unique)
            column = self.background["feature"].search_sorted(rows["feature"]).to_numpy()
            count_UF[owner, column] = rows["count"].to_numpy()
        return count_UF[position]

    def save(self, directory: Path) -> None:
        """Write features.parquet (counts) and features.json (pseudo-counts, background) into a directory."""
        self.counts.write_parquet(directory / COUNTS)
        background = dict(zip(self.background["feature"].to_list(), self.background["share"].to_list(), strict=True))
        # Keys of the run format: "mixed_in" holds the pseudo-counts, "habit" the background distribution.
        write_json(directory / PRIOR_FILE, {"mixed_in": self.pseudo_counts, "habit": background})

    @classmethod
    def load(cls, directory: Path) -> FeaturePredictor:
        """Read the files that `save` wrote.

        Raises:
            RunError: a file is missing or damaged.
        """
        for name in FILES:
            if not (directory / name).is_file():
                raise RunError(f"the run {directory.parent} is not complete: {directory.name}/{name} is missing")
        with reading(directory / PRIOR_FILE):
            kept = json.loads((directory / PRIOR_FILE).read_text(encoding="utf-8"))
            shares = {"feature": list(kept["habit"]), "share": list(kept["habit"].values())}
            background = pl.DataFrame(shares, schema={"feature": pl.String, "share": pl.Float64})
            pseudo_counts = {side: float(kept["mixed_in"][side]) for side in SIDES}
        with reading(directory / COUNTS):
            counts = pl.read_parquet(directory / COUNTS, glob=False).select("side", "id", "feature", "count")
        return cls.from_counts(counts, background, pseudo_counts)


def _named_features(train: pl.DataFrame, features: list[str]) -> pl.DataFrame:
    """Find which texts name which features as whole words, ignoring case; row, feature, each pair once."""
    found = [pl.DataFrame(schema={"row": pl.Int64, "feature": pl.String})]
    spellings = pl.DataFrame({"feature": features}, schema={"feature": pl.String})
    spellings = spellings.with_columns(spelling=_spelling(pl.col("feature")))
    spellings = spellings.filter(pl.col("spelling").str.strip_chars() != "")
    texts = train.select("row", text=_spelling(pl.col("text").fill_null("")))
    for rows in texts.iter_slices(TEXTS_PER_CHUNK) if len(spellings) else ():
        hits = pl.col("text").str.extract_many(spellings["spelling"].to_list(), overlapping=True)
        named = rows.select("row", spelling=hits).explode("spelling", empty_as_null=True).drop_nulls().unique()
        found.append(named.join(spellings, on="spelling").select("row", "feature"))
    return pl.concat(found)


def _spelling(text: pl.Expr) -> pl.Expr:
    """Lower the case, and put single spaces between, before and after the words."""
    return " " + text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars() + " "


def _count_features(mentions: pl.DataFrame, side: str) -> pl.DataFrame:
    """Count the mentions of each feature by user or by item; side, id, feature, count."""
    return (
        mentions.group_by(pl.col(f"{side}_id").cast(pl.Int64).alias("id"), "feature")
        .agg(count=pl.len().cast(pl.Int64))
        .select(pl.lit(side).alias("side"), "id", "feature", "count")
    )


def _choose_pseudo_count(mentions: pl.DataFrame, known: pl.DataFrame, background: pl.DataFrame, side: str) -> float:
    """Choose the pseudo-count of PSEUDO_COUNT_GRID that maximises the leave-one-out likelihood.

    The likelihood is that of the feature of each review in `known`, given the other reviews of its user or item.
    """
    identity = f"{side}_id"
    # A review's own mentions are subtracted from the counts of its user or item.
    of_feature, of_all = (mentions.group_by(keys).agg(n=pl.len()) for keys in ([identity, "feature"], [identity]))
    own_feature, own_all = (mentions.group_by(keys).agg(own=pl.len()) for keys in (["row", "feature"], ["row"]))
    rows = (
        known.join(of_feature, on=[identity, "feature"])
        .join(of_all, on=identity, suffix="_all")
        .join(own_feature, on=["row", "feature"])
        .join(own_all, on="row", suffix="_all")
        .join(background, on="feature")
        .select("share", count=pl.col("n") - pl.col("own"), total=pl.col("n_all") - pl.col("own_all"))
    )
    share, count, total = (rows[name].to_numpy() for name in ("share", "count", "total"))
    likelihood = [np.log((count + s * share) / (total + s)).sum() for s in PSEUDO_COUNT_GRID]
    return float(PSEUDO_COUNT_GRID[int(np.argmax(likelihood))])
