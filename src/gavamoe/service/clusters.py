"""Who the clusters are, what they like and how they write, from the training data that a run holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from gavamoe.data.catalog import Catalog
from gavamoe.diagnostics.clusters import summarize_clusters
from gavamoe.diagnostics.writing import Writing, writing_by_cluster
from gavamoe.preference.recommender import Recommender
from gavamoe.preference.word_gain import WordCounts

TEXTS = 50_000  # texts that are read for words and lengths
# The sentences of evidence of a run without texts.
NO_SENTENCES = pl.DataFrame(
    schema={
        "user_id": pl.Int32, "item_id": pl.Int32, "cluster": pl.Int64, "text": pl.String, "feature": pl.String
    }
)  # fmt: skip


def training_pairs(recommender: Recommender, sentences: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """Return the training pairs (user_id, item_id, rating, feature), their responsibilities [n, K] and clusters [n].

    Args:
        recommender: stage 1 of the run.
        sentences: the run's evidence, which tells the feature of a pair.
    """
    catalog = recommender.catalog
    reviews = catalog.history.select("user_id", "item_id", "level")
    ratings = np.asarray(catalog.scale.to_rating(reviews["level"].to_numpy()), dtype=np.float64)
    features = (
        sentences.lazy()
        .filter(pl.col("feature").is_not_null())
        .group_by("user_id", "item_id")
        .agg(pl.col("feature").first())
        .collect()
        .with_columns(
            pl.col("user_id").cast(reviews.schema["user_id"]), pl.col("item_id").cast(reviews.schema["item_id"])
        )
    )
    reviews = reviews.with_columns(rating=pl.Series(ratings)).join(
        features, on=["user_id", "item_id"], how="left", maintain_order="left"
    )
    user_id, item_id = (reviews[name].to_numpy().astype(np.int64) for name in ("user_id", "item_id"))
    gamma_NK = recommender.responsibilities(user_id, item_id)
    return reviews, gamma_NK, gamma_NK.argmax(-1) if len(gamma_NK) else np.zeros(0, dtype=np.int64)


def describe_clusters(
    catalog: Catalog, sentences: pl.DataFrame, reviews: pl.DataFrame, cluster_N: np.ndarray, profile_UK: np.ndarray
) -> list[dict[str, Any]]:
    """Return a description of each cluster with a training pair (`schemas.ClusterAnswer`).

    Args:
        catalog: of the run.
        sentences: the run's evidence, which tells how a cluster writes.
        reviews: training pairs (`training_pairs`).
        cluster_N: their clusters.
        profile_UK: mean responsibilities of each user, row 0 is the unknown user.
    """
    if reviews.is_empty():
        return []
    texts = _texts(sentences)
    counts = WordCounts.of(texts["text"].to_list())
    writing = writing_by_cluster(counts, texts["cluster"].to_numpy(), catalog, profile_UK)
    return [
        asdict(summary) | _style(writing[summary.cluster])
        for summary in summarize_clusters(cluster_N, reviews, catalog)
    ]


def _texts(sentences: pl.DataFrame) -> pl.DataFrame:
    """Join the sentences of each pair; return cluster and text of the pairs, or of a sample of `TEXTS` of them.

    Pairs are drawn, not sentences: a text that lacks sentences would be too short.
    """
    pairs = sentences.select("user_id", "item_id").unique(maintain_order=True)
    if len(pairs) > TEXTS:
        pairs = pairs.sample(TEXTS, seed=0)
    found = sentences.join(pairs, on=["user_id", "item_id"], how="semi", maintain_order="left")
    return found.group_by("user_id", "item_id", maintain_order=True).agg(
        pl.col("cluster").first().cast(pl.Int64), pl.col("text").str.join(" ")
    )


def _style(writing: Writing) -> dict[str, Any]:
    words = [{"word": word, "log_odds": round(score, 2)} for word, score in writing.words.items()]
    return asdict(writing) | {"words": words}
