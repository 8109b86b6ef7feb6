"""Figures of clusterings: how separate the clusters are, how stable, and how much they say about texts.

Silhouette and Davies-Bouldin describe a clustering in its own vectors, so they are not comparable between vectors.
Stability and the gain on texts are. Shape legend: U users + 1, N training texts, M held-out texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score

from gavamoe.diagnostics.clusterings import UserClustering, Vectors
from gavamoe.preference.word_gain import WordCounts, text_gain

BOOTSTRAPS = 5  # resamples of the users that each clustering is fitted to
MAX_USERS = 5_000  # users in the sample for silhouette and Davies-Bouldin
MAX_CELLS = 50_000_000  # largest dense matrix; Davies-Bouldin needs one


@dataclass(frozen=True)
class TextPairs:
    """Words of reviews, and whose they are.

    Args:
        counts: words of training and held-out texts.
        train_user, held_out_user: user ids, [N] and [M].
        train_gate, held_out_gate: the cluster of each pair under the run, [N] and [M].
    """

    counts: WordCounts
    train_user: np.ndarray
    held_out_user: np.ndarray
    train_gate: np.ndarray
    held_out_gate: np.ndarray


@dataclass(frozen=True)
class ClusteringFigures:
    """The figures of one clustering; None where a figure does not exist.

    Args:
        clustering: its name.
        clusters: how many clusters have a user.
        silhouette: mean silhouette of users in the clustering's own vectors, -1..1.
        davies_bouldin: Davies-Bouldin index in the same vectors; lower is better.
        stability: mean adjusted Rand index with clusterings of bootstrap samples of the users; 1 is stable.
        text_gain: reduction of nats per held-out word by a unigram model per cluster.
        text_gain_error: its standard error over texts.
    """

    clustering: str
    clusters: int
    silhouette: float | None
    davies_bouldin: float | None
    stability: float | None
    text_gain: float | None
    text_gain_error: float | None


def compare_clusterings(
    clusterings: Sequence[UserClustering], seen_U: np.ndarray, texts: TextPairs | None, seed: int
) -> list[ClusteringFigures]:
    """Return the figures of each clustering; the first one is the run's, whose texts are grouped by the pairs' gates.

    Args:
        clusterings: of the same users.
        seen_U: ids of the users with training reviews.
        texts: words by user and pair; None without texts.
        seed: of the samples.
    """
    figures = []
    for place, clustering in enumerate(clusterings):
        silhouette, davies_bouldin = separation(clustering.vectors, clustering.label_U, seen_U, seed)
        gain = None
        if texts is not None:
            own = texts.train_gate, texts.held_out_gate
            by_user = clustering.label_U[texts.train_user], clustering.label_U[texts.held_out_user]
            gain = text_gain(texts.counts, *(by_user if place else own))
        figures.append(
            ClusteringFigures(
                clustering=clustering.name,
                clusters=len(np.unique(clustering.label_U[seen_U])),
                silhouette=silhouette,
                davies_bouldin=davies_bouldin,
                stability=bootstrap_stability(clustering, seen_U, seed),
                text_gain=gain.nats if gain else None,
                text_gain_error=gain.error if gain else None,
            )
        )
    return figures


def separation(
    vectors: Vectors, label_U: np.ndarray, seen_U: np.ndarray, seed: int
) -> tuple[float | None, float | None]:
    """Return silhouette and Davies-Bouldin index of a sample of users; None with fewer than two clusters."""
    rng = np.random.default_rng(seed)
    rows = seen_U if len(seen_U) <= MAX_USERS else rng.choice(seen_U, MAX_USERS, replace=False)
    found, label = vectors[rows], label_U[rows]
    if not 2 <= len(np.unique(label)) < len(label):
        return None, None
    silhouette = float(silhouette_score(found, label))
    if not isinstance(found, np.ndarray):
        if found.shape[0] * found.shape[1] > MAX_CELLS:
            return silhouette, None
        found = found.toarray()
    index = float(davies_bouldin_score(found, label))
    return silhouette, index if np.isfinite(index) and np.ptp(found) > 0 else None


def bootstrap_stability(clustering: UserClustering, seen_U: np.ndarray, seed: int) -> float | None:
    """Return the mean adjusted Rand index between a fit and fits to bootstrap samples; None with a single cluster."""
    if len(np.unique(clustering.label_U[seen_U])) < 2:
        return None
    rng = np.random.default_rng(seed)
    base = clustering.fit(seen_U, seed)[seen_U]
    agreement = []
    for number in range(BOOTSTRAPS):
        rows = rng.choice(seen_U, len(seen_U))
        agreement.append(adjusted_rand_score(base, clustering.fit(rows, seed + 1 + number)[seen_U]))
    return float(np.mean(agreement))
