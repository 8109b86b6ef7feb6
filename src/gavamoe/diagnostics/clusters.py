"""What the clusters are: how large, how far apart, how stable, and what each likes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
import torch
from sklearn.metrics import adjusted_rand_score, silhouette_score

from gavamoe.data.catalog import Catalog
from gavamoe.diagnostics.lexical import over_represented
from gavamoe.preference.model import PreferenceModel

SAMPLE = 5_000  # pairs whose distances the silhouette looks at
CERTAIN = 1.96  # |z| from which a difference is told
SHOWN = 5  # labels of a kind


@dataclass(frozen=True)
class Cluster:
    """One cluster over the reviews that were looked at.

    rating: mean, in units of the source. above: how far its ratings lie above the mean of the rated items.
    genres, features: over-represented, the surest first. likes, dislikes: genres rated further above (below) the items'
    means than the cluster does otherwise.
    """

    cluster: int
    pairs: int
    users: int
    share: float
    rating: float
    above: float
    genres: list[str]
    features: list[str]
    likes: list[str]
    dislikes: list[str]


def assigned(model: PreferenceModel, reviews: pl.DataFrame) -> np.ndarray:
    """The cluster of each review's pair, [n]; reviews with user_id, item_id."""
    user, item = (torch.from_numpy(reviews[name].to_numpy().astype(np.int64)) for name in ("user_id", "item_id"))
    return model.assign(user, item).cpu().numpy()


def describe(cluster: np.ndarray, reviews: pl.DataFrame, catalog: Catalog) -> list[Cluster]:
    """Each cluster that holds a pair, by number.

    Args:
        cluster: of each review.
        reviews: prepared reviews with user_id, item_id, rating and where known feature.
        catalog: knows the items' mean ratings and categories.
    """
    means = np.concatenate([[np.nan], catalog.items["mean_rating"].to_numpy()])
    ids = reviews["item_id"].to_numpy()
    rows = reviews.select("user_id", "item_id", "rating", *(["feature"] if "feature" in reviews.columns else []))
    rows = rows.with_columns(cluster=pl.Series(cluster), above=reviews["rating"].to_numpy() - means[ids])
    rows = rows.with_columns(pl.col("above").fill_nan(None))
    genres = rows.join(catalog.items.select("item_id", genre="categories").explode("genre"), on="item_id")
    genres = genres.drop_nulls("genre")
    often = _distinctive(genres, "genre")
    spoken = _distinctive(rows.drop_nulls("feature"), "feature") if "feature" in rows.columns else {}
    liked = _liked(rows, genres)
    summary = rows.group_by("cluster").agg(
        pl.len().alias("pairs"), pl.col("user_id").n_unique().alias("users"), pl.col("rating", "above").mean()
    )
    return [
        Cluster(
            cluster=row["cluster"],
            pairs=row["pairs"],
            users=row["users"],
            share=row["pairs"] / len(rows),
            rating=row["rating"],
            above=row["above"] if row["above"] is not None else 0.0,
            genres=often.get(row["cluster"], []),
            features=spoken.get(row["cluster"], []),
            likes=liked.get((row["cluster"], True), []),
            dislikes=liked.get((row["cluster"], False), []),
        )
        for row in summary.sort("cluster").iter_rows(named=True)
    ]


def silhouette(model: PreferenceModel, reviews: pl.DataFrame, seed: int = 0) -> float | None:
    """Mean silhouette of the clusters of users' latents, -1..1, over a sample; None with fewer than two clusters.

    Pairs of one user share the user's half of the latent, which is where clusters are told apart; so each user counts
    once, with the cluster of most of its pairs.
    """
    rows = reviews.select("user_id").with_columns(cluster=pl.Series(assigned(model, reviews)))
    users = rows.filter(pl.col("user_id") > 0).group_by("user_id").agg(pl.col("cluster").mode().min()).sort("user_id")
    users = users.sample(min(SAMPLE, len(users)), seed=seed)
    latent = model.latent_means()[0].cpu().numpy()[users["user_id"].to_numpy()]
    found = users["cluster"].to_numpy()
    if not 2 <= len(np.unique(found)) < len(found):
        return None
    return float(silhouette_score(latent, found))


def stability(assignments: list[np.ndarray]) -> float | None:
    """Mean adjusted Rand index between the clusterings of the same pairs by several trainings; None of a single one."""
    indices = [adjusted_rand_score(one, other) for one, other in combinations(assignments, 2)]
    return float(np.mean(indices)) if indices else None


def to_dict(cluster: Cluster) -> dict[str, Any]:
    """As JSON holds it."""
    return asdict(cluster)


def _distinctive(rows: pl.DataFrame, label: str) -> dict[int, list[str]]:
    """Labels whose share in a cluster is certainly above their share elsewhere."""
    if rows.is_empty():
        return {}
    counts = rows.group_by("cluster", label).len().pivot(on=label, index="cluster", values="len").fill_null(0)
    labels = counts.columns[1:]
    score_GL = over_represented(counts.select(labels).to_numpy())
    order_GL = np.argsort(-score_GL, axis=1, kind="stable")[:, :SHOWN]
    return {
        cluster: [labels[place] for place in order if score[place] > CERTAIN]
        for cluster, order, score in zip(counts["cluster"].to_list(), order_GL, score_GL, strict=True)
    }


def _liked(rows: pl.DataFrame, genres: pl.DataFrame) -> dict[tuple[int, bool], list[str]]:
    """Genres that a cluster rates further above the items' means than it does otherwise (True), or less far (False)."""
    usual = rows.group_by("cluster").agg(usual=pl.col("above").mean())
    scored = (
        genres.join(usual, on="cluster")
        .with_columns(difference=pl.col("above") - pl.col("usual"))
        .drop_nulls("difference")
        .group_by("cluster", "genre")
        .agg(z=pl.col("difference").mean() / (pl.col("difference").std() / pl.len().sqrt()))
        .filter(pl.col("z").is_finite() & (pl.col("z").abs() > CERTAIN))
        .sort(pl.col("z").abs(), "genre", descending=[True, False])
        .group_by("cluster", pl.col("z") > 0, maintain_order=True)
        .agg(pl.col("genre").head(SHOWN))
    )
    return {(cluster, liked): found for cluster, liked, found in scored.iter_rows()}
