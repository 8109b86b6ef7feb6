"""Training reviews as sentences that may be evidence: who wrote each of which item, its feature, how much it says."""

from __future__ import annotations

import numpy as np
import polars as pl

from gavamoe.data.features import FeatureExtractor
from gavamoe.data.sentences import split_sentences
from gavamoe.data.tokens import Tokens

FEWEST_WORDS = 3  # a shorter piece of a review says nothing by itself
EMPTY = pl.DataFrame(
    schema={
        "item_id": pl.Int32,
        "user_id": pl.Int32,
        "level": pl.Int8,
        "cluster": pl.Int32,
        "feature": pl.String,
        "information": pl.Float32,
        "text": pl.String,
    }
)
COLUMNS = tuple(EMPTY.columns)


def sentences_of(train: pl.DataFrame, cluster_N: np.ndarray, extractor: FeatureExtractor | None) -> pl.DataFrame:
    """Sentences sorted by item (COLUMNS) of reviews with user_id, item_id, level, text, feature and cluster [N]."""
    reviews = train.select("item_id", "user_id", "level", "feature", "text").with_columns(
        pl.Series("cluster", cluster_N, dtype=pl.Int32)
    )
    sentences = (
        reviews.with_columns(text=split_sentences(reviews["text"]))
        .explode("text")
        .with_columns(pl.col("text").str.strip_chars())
        .filter((pl.col("item_id") > 0) & (pl.col("text").str.count_matches(r"\S+") >= FEWEST_WORDS))
        .sort("item_id", maintain_order=True)
    )
    if sentences.is_empty():
        return EMPTY
    if extractor is not None:
        feature = extractor.extract(sentences["text"])
    else:  # the source named the feature of the review; it is that of the sentence that has the word
        said = pl.col("text").str.to_lowercase().str.contains(pl.col("feature").str.to_lowercase(), literal=True)
        feature = sentences.select(pl.when(said).then("feature").alias("feature"))["feature"]
    sentences = sentences.with_columns(feature=feature, information=information(sentences["text"]))
    return sentences.select(pl.col(name).cast(dtype) for name, dtype in EMPTY.schema.items())


def information(texts: pl.Series) -> pl.Series:
    """How much each sentence says, [N] in 0..1: rare words count, and half is what the median sentence says."""
    tokens = Tokens.of(texts)
    words = pl.DataFrame({"row": tokens.row, "word": tokens.code}).unique()
    idf = words.group_by("word").agg((len(texts) / pl.len()).log().alias("idf"))
    # Rounded, because the order of a parallel sum must not decide between two sentences.
    found = words.join(idf, on="word").group_by("row").agg(pl.col("idf").sum().round(6))
    rows = pl.DataFrame({"row": pl.int_range(len(texts), eager=True)})
    total = rows.join(found, on="row", how="left", maintain_order="left")["idf"].fill_null(0.0)
    median = float(total.median() or 0.0)  # type: ignore[arg-type]
    return (total / (total + max(median, 1e-12))).cast(pl.Float32)
