"""Choose the features of a dataset, from the source or learned from the texts, and annotate the reviews with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from gavamoe.data.prepare.assign import Assignment
from gavamoe.data.prepare.ingest import Ingested
from gavamoe.data.prepare.splits import TRAIN
from gavamoe.errors import DataError
from gavamoe.features.extractor import FeatureExtractor
from gavamoe.features.language import detect_language
from gavamoe.features.lexicon import SEED_OPINIONS
from gavamoe.features.mining import MAX_CORPUS_WORDS, mine_features
from gavamoe.features.sentences import ANNOTATED_SCHEMA, ANNOTATIONS, annotate_reviews

MINED_FROM = "features are mined from English opinion words"


@dataclass(frozen=True)
class FeatureAnnotator:
    """The features of a dataset, and how its reviews get them.

    Args:
        method: off, column, learned, or none: nothing was found, for the reason in `note`.
        extractor: finds the features in texts; None if there are no features.
        words: the sorted feature words.
        note: why there are no features although they were asked for; empty otherwise.
    """

    method: str
    extractor: FeatureExtractor | None = None
    words: list[str] = field(default_factory=list)
    note: str = ""

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Set the feature, opinion and sentiment of interactions; all but a given column also shortens long reviews."""
        if self.method == "column":
            return rows
        if self.extractor is None:
            return rows.with_columns(pl.lit(None, ANNOTATED_SCHEMA[name]).alias(name) for name in ANNOTATIONS)
        text = pl.struct("text", "words")
        annotated = text.map_batches(self._annotate, return_dtype=pl.Struct(ANNOTATED_SCHEMA), is_elementwise=True)
        rows = rows.drop(ANNOTATIONS).with_columns(annotated.alias("annotated"))
        return rows.drop("text", "words").unnest("annotated")

    def _annotate(self, texts: pl.Series) -> pl.Series:
        assert self.extractor is not None
        annotated = annotate_reviews(texts.struct["text"], self.extractor, texts.struct["words"])
        return annotated.to_struct("annotated")


# Annotates parts of the kept interactions, in their order.
AnnotateParts = Callable[[FeatureAnnotator, Iterator[pl.DataFrame]], Iterator[pl.DataFrame]]


def annotate_here(features: FeatureAnnotator, parts: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Annotate parts in this process."""
    for part in parts:
        yield features.apply(part.lazy()).collect()


def choose_features(ingested: Ingested, assignment: Assignment, mode: str) -> FeatureAnnotator:
    """Choose the features: those of the source's column, or learned from the training texts.

    Args:
        ingested: the reviews of all sources.
        assignment: which reviews are kept, and their splits.
        mode: off, column, or auto (learn them if the source has no feature column).

    Raises:
        DataError: the mode is column and the source has no feature column.
    """
    if mode == "off":
        return FeatureAnnotator("off")
    given = _count_given(ingested, assignment)
    if given:
        return FeatureAnnotator("column", FeatureExtractor(_rarity_weights(given), SEED_OPINIONS), sorted(given))
    if mode == "column":
        raise DataError(
            "--features column needs a column `feature`; name it with --feature-col, or use --features auto"
        )
    sample = _training_sample(ingested, assignment)
    if (sample["text"] == "").all():
        return FeatureAnnotator("none", note="no training review has a text")
    language = detect_language(sample["text"])
    if not language.has_english:
        note = f"{MINED_FROM}, and these texts are mostly {language}; give a feature column with --feature-col"
        # An extractor without words still shortens a long review to a sentence, here and in `Catalog.encode`.
        return FeatureAnnotator("none", FeatureExtractor({}, {}, learned=True), note=note)
    extractor = mine_features(sample["text"], sample["rating"])
    if extractor is None:
        return FeatureAnnotator("none", note=f"{MINED_FROM}, and these texts have too few of them")
    return FeatureAnnotator("learned", extractor, sorted(extractor.features))


def _count_given(ingested: Ingested, assignment: Assignment) -> dict[str, int]:
    """Count the features of the kept reviews in the source's column."""
    rows = _select_rows(ingested, "feature", mask=assignment.rows["keep"])
    counts = rows.drop_nulls().group_by("feature").agg(pl.len())
    return dict(counts.collect(engine="streaming").iter_rows())


def _select_rows(ingested: Ingested, *columns: str, mask: pl.Series) -> pl.LazyFrame:
    """Return columns of the reviews that a mask, bool [n], selects, as a lazy frame."""
    rows = pl.concat([ingested.scan().select(columns), mask.to_frame("mask").lazy()], how="horizontal")
    return rows.filter("mask").drop("mask")


def _rarity_weights(counts: Mapping[str, int]) -> dict[str, float]:
    """Weight each feature by rarity: 1 - log(count) / log(greatest count)."""
    log_max = np.log(max(max(counts.values()), 2))
    return {feature: round(float(1 - np.log(count) / log_max), 4) for feature, count in sorted(counts.items())}


def _training_sample(ingested: Ingested, assignment: Assignment) -> pl.DataFrame:
    """Read texts and ratings of evenly spaced training reviews, as many as mining needs."""
    train = np.flatnonzero(assignment.rows["split"].to_numpy() == TRAIN)
    limit = max(1, int(MAX_CORPUS_WORDS / max(ingested.scan().select(pl.col("words").mean()).collect().item(), 1)))
    chosen = np.zeros(assignment.rows.height, dtype=bool)
    chosen[train[:: max(1, -(-len(train) // limit))]] = True
    return _select_rows(ingested, "text", "rating", mask=pl.Series(chosen)).collect(engine="streaming")
