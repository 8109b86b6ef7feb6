"""Which features a dataset has, and the pass over its texts that finds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from gavamoe.data.prepare.assign import Assignment
from gavamoe.data.prepare.ingest import Ingested
from gavamoe.data.prepare.splits import TRAIN
from gavamoe.errors import DataError
from gavamoe.features.extractor import FeatureExtractor
from gavamoe.features.mining import MOST_WORDS, mine_features
from gavamoe.features.opinion_words import SEEDS
from gavamoe.features.sentences import FOUND, SAID, read_texts

FEATURE_MODES = ("auto", "column", "off")


@dataclass(frozen=True)
class FeatureAnnotator:
    """How features come into a dataset.

    Attributes:
        method: off, column or learned.
        extractor: finds features in other texts later; None where there are none.
    """

    method: str
    extractor: FeatureExtractor | None = None
    words: list[str] = field(default_factory=list)

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Give interactions their feature, opinion and sentiment, and long reviews their best sentence."""
        if self.method == "learned":
            text = pl.struct("text", "words")
            said = text.map_batches(self._say, return_dtype=pl.Struct(SAID), is_elementwise=True)
            return rows.drop(FOUND).with_columns(said.alias("said")).drop("text", "words").unnest("said")
        return (
            rows
            if self.method == "column"
            else rows.with_columns(pl.lit(None, SAID[name]).alias(name) for name in FOUND)
        )

    def _say(self, texts: pl.Series) -> pl.Series:
        assert self.extractor is not None
        return read_texts(texts.struct["text"], self.extractor, texts.struct["words"]).to_struct("said")


def choose_features(ingested: Ingested, assignment: Assignment, mode: str) -> FeatureAnnotator:
    """Take the features of the source's column, or learn them from the training texts.

    Args:
        mode: off; column; or auto, which learns them where the source has no column.

    Raises:
        DataError: the mode is column and the source has none.
    """
    if mode == "off":
        return FeatureAnnotator("off")
    given = _given(ingested, assignment)
    if given:
        return FeatureAnnotator("column", FeatureExtractor(_rarity(given), SEEDS), sorted(given))
    if mode == "column":
        raise DataError(
            "--features column needs a column `feature`; name it with --feature-col, or use --features auto"
        )
    sample = _training_sample(ingested, assignment)
    extractor = mine_features(sample["text"], sample["rating"])
    return FeatureAnnotator("learned", extractor, sorted(extractor.features)) if extractor else FeatureAnnotator("off")


def _given(ingested: Ingested, assignment: Assignment) -> dict[str, int]:
    """Count the features of the reviews that stay."""
    rows = _marked(ingested, "feature", marked=assignment.rows["keep"])
    counts = rows.drop_nulls().group_by("feature").agg(pl.len())
    return dict(counts.collect(engine="streaming").iter_rows())


def _marked(ingested: Ingested, *columns: str, marked: pl.Series) -> pl.LazyFrame:
    """Return columns of the marked reviews, bool [n], lazily."""
    rows = pl.concat([ingested.scan().select(columns), marked.to_frame("marked").lazy()], how="horizontal")
    return rows.filter("marked").drop("marked")


def _rarity(counts: Mapping[str, int]) -> dict[str, float]:
    most = np.log(max(max(counts.values()), 2))
    return {feature: round(float(1 - np.log(count) / most), 4) for feature, count in sorted(counts.items())}


def _training_sample(ingested: Ingested, assignment: Assignment) -> pl.DataFrame:
    """Read the texts and ratings of as many training reviews as learning features takes, chosen evenly."""
    train = np.flatnonzero(assignment.rows["split"].to_numpy() == TRAIN)
    most = max(1, int(MOST_WORDS / max(ingested.scan().select(pl.col("words").mean()).collect().item(), 1)))
    chosen = np.zeros(assignment.rows.height, dtype=bool)
    chosen[train[:: max(1, -(-len(train) // most))]] = True
    return _marked(ingested, "text", "rating", marked=pl.Series(chosen)).collect(engine="streaming")
