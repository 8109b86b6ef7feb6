"""How each cluster writes: words that it uses more than the others, the length of its texts, and its typical users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gavamoe.data.catalog import Catalog
from gavamoe.diagnostics.clusters import Z_THRESHOLD, log_odds_z_scores
from gavamoe.preference.word_gain import WordCounts

WORDS = 12  # words that are reported of a cluster
FEWEST_TEXTS = 3  # a word of fewer training texts is left out: it is often a name
TYPICAL_USERS, FEWEST_REVIEWS = 5, 3


@dataclass(frozen=True)
class Writing:
    """How a cluster writes.

    Args:
        words: z-scores of the log odds of over-represented words, in descending order.
        length: mean number of words of a training text, without punctuation marks; None without texts.
        typical_users: names of the users with the largest responsibilities, among those with a few reviews.
    """

    words: dict[str, float]
    length: float | None
    typical_users: list[str]


def writing_by_cluster(
    counts: WordCounts | None, gate_N: np.ndarray, catalog: Catalog, profile_UK: np.ndarray
) -> list[Writing]:
    """Describe the K clusters.

    Args:
        counts: words of training texts; None without texts.
        gate_N: the cluster of each training text, [N].
        catalog: names of users, and their numbers of reviews.
        profile_UK: mean responsibilities of each user; row 0 is the unknown user.
    """
    clusters = profile_UK.shape[1]
    users = [typical_users(catalog, profile_UK[:, cluster]) for cluster in range(clusters)]
    if counts is None:
        return [Writing({}, None, names) for names in users]
    count_GV = counts.group_counts(gate_N, clusters)[:, :-1]
    texts_G = np.maximum(np.bincount(gate_N, minlength=clusters), 1)
    frequent_V = np.asarray((counts.train > 0).sum(0)).ravel() >= FEWEST_TEXTS
    score_GV = log_odds_z_scores(count_GV)
    is_word_V = np.array([any(map(str.isalnum, word)) for word in counts.words])
    score_GV[:, ~(frequent_V & is_word_V)] = 0
    length_G = count_GV[:, is_word_V].sum(1) / texts_G
    order_GV = np.argsort(-score_GV, axis=1, kind="stable")[:, :WORDS]
    return [
        Writing(
            {str(counts.words[place]): float(score[place]) for place in order if score[place] > Z_THRESHOLD},
            float(length) if length else None,
            names,
        )
        for order, score, length, names in zip(order_GV, score_GV, length_G, users, strict=True)
    ]


def typical_users(catalog: Catalog, share_U: np.ndarray) -> list[str]:
    """Return the users with the largest shares of a cluster among those with a few reviews.

    Args:
        catalog: names of users, and their numbers of reviews.
        share_U: each user's mean responsibility of the cluster; row 0 is the unknown user.
    """
    reviews_U = catalog.user_counts
    enough = min(FEWEST_REVIEWS, int(reviews_U.max(initial=0)))
    eligible = np.flatnonzero((reviews_U >= max(enough, 1)) & (share_U > 0))
    best = eligible[np.lexsort((eligible, -reviews_U[eligible], -np.round(share_U[eligible], 3)))]
    return [catalog.user_names[number] for number in best[:TYPICAL_USERS]]
