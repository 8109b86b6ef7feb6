"""Who the clusters are, what they like and how they write, from the training data that a run holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from gavamoe.data.catalog import Catalog
from gavamoe.diagnostics.clusters import log_odds_z_scores, summarize_clusters
from gavamoe.diagnostics.writing import typical_users
from gavamoe.preference.recommender import Recommender

WORDS, COMMONEST_WORDS, CERTAIN = 12, 2_000, 1.96
SENTENCES = 100_000  # sentences of evidence that are read for words and lengths
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
    style = _style(sentences)
    return [
        {
            "cluster": cluster.cluster,
            "pairs": cluster.pairs,
            "users": cluster.users,
            "share": cluster.share,
            "rating": cluster.rating,
            "above": cluster.above,
            "genres": cluster.genres,
            "features": cluster.features,
            "likes": cluster.likes,
            "dislikes": cluster.dislikes,
            "typical_users": typical_users(catalog, profile_UK[:, cluster.cluster]),
            **style.get(cluster.cluster, {"words": [], "length": None}),
        }
        for cluster in summarize_clusters(cluster_N, reviews, catalog)
    ]


def _style(sentences: pl.DataFrame) -> dict[int, dict[str, Any]]:
    """Return for each cluster the words that its reviews use more often than others, and their mean number of words."""
    if sentences.is_empty():
        return {}
    sample = sentences.sample(min(SENTENCES, len(sentences)), seed=0) if len(sentences) > SENTENCES else sentences
    words = sample.select(
        "cluster", "user_id", "item_id", word=pl.col("text").str.to_lowercase().str.extract_all(r"\p{L}[\p{L}'’]+")
    )
    lengths = (
        words.group_by("cluster", "user_id", "item_id")
        .agg(words=pl.col("word").list.len().sum())
        .group_by("cluster")
        .agg(pl.col("words").mean())
    )
    counts = (
        words.select("cluster", "word")
        .explode("word", empty_as_null=True)
        .drop_nulls()
        .group_by("cluster", "word")
        .len()
    )
    common = counts.group_by("word").agg(pl.col("len").sum()).sort("len", "word", descending=[True, False])
    common = common.head(COMMONEST_WORDS)
    clusters = sorted(sentences["cluster"].unique().to_list())
    place = {word: column for column, word in enumerate(common["word"].to_list())}
    count_GL = np.zeros((len(clusters), len(place)))
    for cluster, word, count in counts.join(common.select("word"), on="word").iter_rows():
        count_GL[clusters.index(cluster), place[word]] = count
    score_GL = log_odds_z_scores(count_GL) if len(place) else count_GL
    vocabulary, mean = list(place), dict(lengths.iter_rows())
    return {
        cluster: {
            "words": [
                {"word": vocabulary[column], "log_odds": round(float(score_L[column]), 2)}
                for column in np.argsort(-score_L, kind="stable")[:WORDS]
                if score_L[column] > CERTAIN
            ],
            "length": mean.get(cluster),
        }
        for cluster, score_L in zip(clusters, score_GL, strict=True)
    }
