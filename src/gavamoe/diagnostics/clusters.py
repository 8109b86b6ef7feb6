"""Describe clusters: size, distinctive genres and features, likes and dislikes, information and stability.

Labels that a cluster has more often than the others are found by the log-odds ratio with an informative Dirichlet prior
(Monroe, Colaresi and Quinn 2008, "Fightin' Words"). Shape legend: G groups (clusters), L labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
import torch
from sklearn.metrics import adjusted_rand_score

from gavamoe.data.catalog import Catalog
from gavamoe.preference.model import PreferenceModel

Z_THRESHOLD = 1.96  # |z| above which a difference is reported (5 %, two-sided)
MAX_LABELS = 5  # genres or features that are reported of each kind
PRIOR_COUNT = 100.0  # pseudo-count of labels, distributed as in all groups together


@dataclass(frozen=True)
class ClusterSummary:
    """Description of one cluster over a set of reviews.

    Args:
        cluster: its number.
        pairs, users: how many (user, item) pairs and distinct users it has.
        share: its share of all pairs.
        rating: mean rating, on the source's scale.
        above: mean difference between a rating and the mean rating of its item.
        genres, features: over-represented labels, by descending z-score.
        likes, dislikes: genres that the cluster rates higher (lower), relative to the items' means, than other genres.
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


def summarize_clusters(cluster: np.ndarray, reviews: pl.DataFrame, catalog: Catalog) -> list[ClusterSummary]:
    """Describe each cluster that has a pair, in order of its number.

    Args:
        cluster: the cluster of each review, [n].
        reviews: prepared reviews with user_id, item_id, rating and optionally feature, [n].
        catalog: gives the items' mean ratings and categories.
    """
    means = np.concatenate([[np.nan], catalog.items["mean_rating"].to_numpy()])
    ids = reviews["item_id"].to_numpy()
    rows = reviews.select("user_id", "item_id", "rating", *(["feature"] if "feature" in reviews.columns else []))
    rows = rows.with_columns(cluster=pl.Series(cluster), above=reviews["rating"].to_numpy() - means[ids])
    rows = rows.with_columns(pl.col("above").fill_nan(None))
    genres = rows.join(catalog.items.select("item_id", genre="categories").explode("genre"), on="item_id")
    genres = genres.drop_nulls("genre")
    distinctive_genres = _distinctive(genres, "genre")
    distinctive_features = _distinctive(rows.drop_nulls("feature"), "feature") if "feature" in rows.columns else {}
    liked = _liked_genres(rows, genres)
    summary = rows.group_by("cluster").agg(
        pl.len().alias("pairs"), pl.col("user_id").n_unique().alias("users"), pl.col("rating", "above").mean()
    )
    return [
        ClusterSummary(
            cluster=row["cluster"],
            pairs=row["pairs"],
            users=row["users"],
            share=row["pairs"] / len(rows),
            rating=row["rating"],
            above=row["above"] if row["above"] is not None else 0.0,
            genres=distinctive_genres.get(row["cluster"], []),
            features=distinctive_features.get(row["cluster"], []),
            likes=liked.get((row["cluster"], True), []),
            dislikes=liked.get((row["cluster"], False), []),
        )
        for row in summary.sort("cluster").iter_rows(named=True)
    ]


@torch.no_grad()
def posterior_information(model: PreferenceModel, user_N: np.ndarray) -> float:
    """Return how many nats the latent of a pair's user says about the user: the mean KL of q(z | u) from q(z).

    q(z) is taken as the Gaussian with the moments of the posteriors of all pairs' users. So the figure is an upper
    bound, and 0 if every user has the same posterior. The KL from the mixture prior would not do: its components are
    fitted to the means, and around equal means they are so narrow that a collapsed posterior is far from them.

    Args:
        model: stage 1.
        user_N: the user id of each pair, int64.
    """
    user_U, count_U = np.unique(user_N, return_counts=True)
    mu_UD, log_var_UD = model.eval().encoder.user(torch.from_numpy(user_U).to(model.device))
    weight_U = torch.from_numpy(count_U / count_U.sum()).to(mu_UD)
    variance_D = weight_U @ log_var_UD.exp() + weight_U @ (mu_UD - weight_U @ mu_UD).square()
    return float(0.5 * (variance_D.log() - weight_U @ log_var_UD).sum())


def stability(assignments: list[np.ndarray]) -> float | None:
    """Return the mean adjusted Rand index between the clusterings of the same pairs by several trainings.

    Args:
        assignments: the clusters of the pairs under each training, [n] each.

    Returns:
        1 for equal clusterings, about 0 for unrelated ones; None for a single training.
    """
    indices = [adjusted_rand_score(one, other) for one, other in combinations(assignments, 2)]
    return float(np.mean(indices)) if indices else None


def log_odds_z_scores(count_GL: np.ndarray) -> np.ndarray:
    """Return the z-score of each label's log odds in a group against the other groups.

    Log-odds ratio with an informative Dirichlet prior (Monroe et al. 2008): with counts y and pseudo-counts a,
    delta = log odds(y_in + a) - log odds(y_out + a), z = delta / sqrt(1 / (y_in + a) + 1 / (y_out + a)).

    Args:
        count_GL: how often each group has each label, [groups, labels].

    Returns:
        z-scores, [groups, labels]; 0 if all counts are 0.
    """
    total_L = count_GL.sum(0, dtype=float)
    if total_L.sum() == 0:
        return np.zeros_like(count_GL, dtype=float)
    prior_L = PRIOR_COUNT * (total_L + 0.5) / (total_L + 0.5).sum()
    inside_GL, outside_GL = count_GL + prior_L, total_L - count_GL + prior_L
    difference_GL = _log_odds(inside_GL) - _log_odds(outside_GL)
    return difference_GL / np.sqrt(1 / inside_GL + 1 / outside_GL)


def _log_odds(count_GL: np.ndarray) -> np.ndarray:
    rest_GL = np.maximum(count_GL.sum(1, keepdims=True) - count_GL, 1e-9)
    return np.log(count_GL / rest_GL)


def _distinctive(rows: pl.DataFrame, label: str) -> dict[int, list[str]]:
    """Return each cluster's labels whose share is significantly above their share in the other clusters."""
    if rows.is_empty():
        return {}
    # Labels are values of the data, so they never become names of columns.
    labels, label_N = np.unique(rows[label].to_numpy().astype(str), return_inverse=True)
    clusters, cluster_N = np.unique(rows["cluster"].to_numpy(), return_inverse=True)
    count_GL = np.zeros((len(clusters), len(labels)))
    np.add.at(count_GL, (cluster_N, label_N), 1)
    score_GL = log_odds_z_scores(count_GL)
    order_GL = np.argsort(-score_GL, axis=1, kind="stable")[:, :MAX_LABELS]
    return {
        cluster: [str(labels[place]) for place in order if score[place] > Z_THRESHOLD]
        for cluster, order, score in zip(clusters.tolist(), order_GL, score_GL, strict=True)
    }


def _liked_genres(rows: pl.DataFrame, genres: pl.DataFrame) -> dict[tuple[int, bool], list[str]]:
    """Return the genres that a cluster rates relatively higher (key True) or lower (False), by (cluster, key)."""
    usual = rows.group_by("cluster").agg(usual=pl.col("above").mean())
    scored = (
        genres.join(usual, on="cluster")
        .with_columns(difference=pl.col("above") - pl.col("usual"))
        .drop_nulls("difference")
        .group_by("cluster", "genre")
        .agg(z=pl.col("difference").mean() / (pl.col("difference").std() / pl.len().sqrt()))
        .filter(pl.col("z").is_finite() & (pl.col("z").abs() > Z_THRESHOLD))
        .sort(pl.col("z").abs(), "genre", descending=[True, False])
        .group_by("cluster", pl.col("z") > 0, maintain_order=True)
        .agg(pl.col("genre").head(MAX_LABELS))
    )
    return {(cluster, liked): labels for cluster, liked, labels in scored.iter_rows()}
