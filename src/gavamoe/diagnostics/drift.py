"""Drift between the reviews that a run was made from and newer reviews: named checks that say when to update or refit.

cold_users, cold_items   share of newer rows whose user (item) the run does not know
cluster_mix              population stability index (PSI) of the responsibilities: who is active
moved_users              share of users whose newer ratings point to another cluster
rating_distribution      PSI of the rating levels
rating_loss              negative log likelihood of newer ratings by known users of known items, against validation
rating_error             RMSE of all newer ratings, cold ones included, against validation
text_loss                nats per token of newer texts, against validation

A model that is frozen gives a pair the same responsibilities for ever, so `cluster_mix` cannot see that tastes change.
`moved_users` can: it estimates users again from their newer ratings (`posterior`).
Every shift has a null distribution. Rows of one user are alike, so users are resampled, not rows.
Shape suffixes: N rows, K clusters, R rating levels, G groups (a user in one period), C categories, M users, P prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gavamoe.diagnostics.named_check import Check, Rule
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.posterior import prior_ids, user_log_likelihoods
from gavamoe.preference.warm_start import user_responsibilities

DRAWS = 500  # of a null distribution or a bootstrap
SMALLEST_SHARE = 1e-4  # of a category, so that the PSI is finite
RATINGS_PER_USER = 5  # ratings that a user is estimated again from
MOST_USERS = 500  # users that are estimated again
MIN_USERS = 20  # fewer users say nothing about a share
UPDATE = "update the run with `gavamoe train DATA --out NEW --update RUN`"
REFIT = "train a new run on all reviews; an update may not be enough"


@dataclass(frozen=True)
class DriftCheck(Check):
    """The result of one check of drift.

    Args:
        reference: the same figure of the run's own data, if there is one.
        interval: 95 % bootstrap interval of the value, or the range of its null distribution (2.5 % to 97.5 %).
    """

    reference: float | None = None
    interval: tuple[float, float] | None = None


_COLD = "a cold row gets the prediction of the unknown id; docs/how-to/update.md shows the error that this costs"
_PSI = "0.1 and 0.25 are the usual limits of the PSI for a moderate and a large shift; it must also exceed its null"
_LOSS = "an update wins back a rise of 5 % or more (docs/how-to/update.md); the interval must exclude no rise"
_RULES = (
    Rule("cold_users", "share of rows by unknown users, above the run's own share", 0.1, 0.3, True, _COLD, UPDATE),
    Rule("cold_items", "share of rows on unknown items, above the run's own share", 0.1, 0.3, True, _COLD, UPDATE),
    Rule(
        "cluster_mix",
        "PSI of the mean responsibilities of pairs with a known user",
        0.1,
        0.25,
        True,
        _PSI,
        f"other kinds of users are active: read the metrics by cluster, and {UPDATE} if their errors differ",
    ),
    Rule(
        "moved_users",
        "share of users whose ratings point to another cluster than their own, above that share of their older ratings",
        0.1,
        0.2,
        True,
        "without drift the share differs little: by chance, which the interval shows, and because a user's cluster is "
        "fitted to the older ratings; gates of these users are wrong",
        f"tastes changed: {UPDATE}; if the check fails on the update too, {REFIT}",
    ),
    Rule(
        "rating_distribution",
        "PSI of the rating levels",
        0.1,
        0.25,
        True,
        _PSI,
        f"ratings are given differently: check their source, then {UPDATE}",
    ),
    Rule(
        "rating_loss",
        "rating loss of known users and items, divided by the run's validation loss",
        1.05,
        1.15,
        True,
        _LOSS,
        UPDATE,
    ),
    Rule("rating_error", "RMSE of all rows, divided by the run's validation RMSE", 1.05, 1.15, True, _LOSS, UPDATE),
    Rule(
        "text_loss",
        "loss of texts in nats per token, divided by the run's validation loss",
        1.05,
        1.15,
        True,
        _LOSS,
        UPDATE,
    ),
)
RULES = {rule.name: rule for rule in _RULES}


def skipped(name: str, why: str) -> DriftCheck:
    """Return a check that could not be made, and why."""
    return DriftCheck(**RULES[name].skip(why).to_dict())


def _check(
    name: str,
    value: float,
    reference: float | None = None,
    interval: tuple[float, float] | None = None,
    is_significant: bool = True,
) -> DriftCheck:
    """Return a check; one whose value is within its null, or whose interval includes no change, passes."""
    rule = RULES[name]
    check = rule.check(rule.status(value) if is_significant else "pass", value)
    return DriftCheck(**check.to_dict(), reference=reference, interval=interval)


def check_cold_share(name: str, cold_N: np.ndarray, own_share: float) -> DriftCheck:
    """Return the check of the share of cold rows.

    Args:
        name: cold_users or cold_items.
        cold_N: whether each newer row is cold.
        own_share: the share of cold rows in the run's own validation data.
    """
    return _check(name, float(cold_N.mean()) - own_share, own_share)


def population_stability_index(own_C: np.ndarray, newer_C: np.ndarray) -> np.ndarray:
    """Return sum_c (q_c - p_c) log(q_c / p_c) of two distributions over the last axis, [...]; 0 if they are equal."""
    p, q = (np.maximum(share / share.sum(-1, keepdims=True), SMALLEST_SHARE) for share in (own_C, newer_C))
    value: np.ndarray = ((q - p) * np.log(q / p)).sum(-1)
    return value


def check_shift(
    name: str,
    own_NC: np.ndarray,
    newer_NC: np.ndarray,
    own_user_N: np.ndarray,
    newer_user_N: np.ndarray,
) -> DriftCheck:
    """Return the check of a shift between two samples of distributions, against the null distribution of the PSI.

    Args:
        name: cluster_mix or rating_distribution.
        own_NC: a distribution over categories for each of the run's own rows.
        newer_NC: the same for each newer row.
        own_user_N, newer_user_N: user of each row; 0 is a user of its own in each row.
    """
    value = float(population_stability_index(own_NC.sum(0), newer_NC.sum(0)))
    null = _null_indices(own_NC, newer_NC, _groups(own_user_N), _groups(newer_user_N))
    low, high = (float(limit) for limit in np.quantile(null, [0.025, 0.975]))
    return _check(name, value, None, (low, high), is_significant=value > high)


def _null_indices(
    own_NC: np.ndarray, newer_NC: np.ndarray, own_user_N: np.ndarray, newer_user_N: np.ndarray
) -> np.ndarray:
    """Return draws of the PSI without a shift, [DRAWS].

    The rows of a user in one period are a group. Each group draws as many rows as it has from one group of either
    period, chosen in proportion to its rows. So draws have the sizes of both samples, and rows of a user stay alike.
    """
    own_N, newer_N = (np.unique(user, return_inverse=True)[1] for user in (own_user_N, newer_user_N))
    group_N = np.concatenate([own_N, own_N.max() + 1 + newer_N])
    order = np.argsort(group_N, kind="stable")
    row_NC, group_N = np.concatenate([own_NC, newer_NC])[order], group_N[order]
    count_G = np.bincount(group_N)
    start_G = np.cumsum(count_G) - count_G
    rng, null = np.random.default_rng(0), np.empty(DRAWS)
    for draw in range(DRAWS):
        sums = []
        for target_N in (own_N, newer_N):
            source = group_N[rng.integers(0, len(group_N), target_N.max() + 1)][target_N]
            place = start_G[source] + (rng.random(len(source)) * count_G[source]).astype(np.int64)
            sums.append(row_NC[place].sum(0))
        null[draw] = population_stability_index(*sums)
    return null


def check_ratio(
    name: str,
    newer_N: np.ndarray,
    newer_user_N: np.ndarray,
    own_N: np.ndarray | None,
    own_user_N: np.ndarray | None,
    own_mean: float,
    root: bool = False,
) -> DriftCheck:
    """Return the check of a mean loss divided by the run's own, with a bootstrap interval over users.

    Args:
        name: rating_loss, rating_error or text_loss.
        newer_N: loss of each newer row.
        newer_user_N: its user, or another group of rows.
        own_N, own_user_N: the same of the run's validation rows; None if they are not available.
        own_mean: the run's mean validation loss.
        root: whether the square roots of the means are compared (RMSE).
    """
    rng = np.random.default_rng(0)
    newer = _resampled_means(newer_N, newer_user_N, rng)
    own = np.full(DRAWS, own_mean) if own_N is None or own_user_N is None else _resampled_means(own_N, own_user_N, rng)
    power = 0.5 if root else 1.0
    ratios = (newer / np.maximum(own, 1e-12)) ** power
    value = float((newer_N.mean() / max(own_mean, 1e-12)) ** power)
    low, high = (float(limit) for limit in np.quantile(ratios, [0.025, 0.975]))
    return _check(name, value, own_mean**power, (low, high), is_significant=low > 1)


@torch.no_grad()
def check_moved_users(model: PreferenceModel, own: np.ndarray, newer: np.ndarray) -> DriftCheck:
    """Return the check of users whose newer ratings point to another cluster.

    A user is estimated from `RATINGS_PER_USER` newer ratings, and from as many older ones for comparison, under a prior
    of the other trained users. The cluster of the estimate is compared with the user's own.

    Args:
        model: stage 1.
        own: the run's training ratings: columns user id, item id, level from 1, [N, 3].
        newer: the newer ratings, likewise.
    """
    rng = np.random.default_rng(0)
    own, newer = (ratings[(ratings[:, 0] > 0) & (ratings[:, 1] > 0)] for ratings in (own, newer))
    users = np.intersect1d(_with_enough(own), _with_enough(newer))
    if len(users) < MIN_USERS:
        return skipped(
            "moved_users",
            f"{len(users)} users have {RATINGS_PER_USER} newer ratings of known items; the check needs {MIN_USERS}",
        )
    users = np.sort(rng.choice(users, min(MOST_USERS, len(users)), replace=False))
    gamma_UK = user_responsibilities(model)
    prior_P = prior_ids(torch.arange(1, model.users + 1))
    moved = []
    for ratings in (own, newer):
        drawn = _draw_ratings(ratings, users, rng)
        log_p_MP = user_log_likelihoods(model, drawn, users, prior_P)
        log_p_MP[torch.from_numpy(users)[:, None] == prior_P] = -torch.inf  # a user is no prior of itself
        cluster_M = (log_p_MP.softmax(-1) @ gamma_UK[prior_P]).argmax(-1)
        moved.append((cluster_M != gamma_UK[torch.from_numpy(users)].argmax(-1)).numpy().astype(float))
    difference_M = moved[1] - moved[0]
    means = difference_M[rng.integers(0, len(users), (DRAWS, len(users)))].mean(1)
    low, high = (float(limit) for limit in np.quantile(means, [0.025, 0.975]))
    return _check(
        "moved_users", float(difference_M.mean()), float(moved[0].mean()), (low, high), is_significant=low > 0
    )


def onset(names: Sequence[str], values: Sequence[float], limit: float) -> str | None:
    """Return the first window from which the values of all later windows are at least `limit`; None if there is none.

    Args:
        names: of the windows, in the order of time.
        values: one per window.
        limit: the threshold.
    """
    first = len(values)
    while first > 0 and values[first - 1] >= limit:
        first -= 1
    return None if first == len(values) else names[first]


def _with_enough(ratings: np.ndarray) -> np.ndarray:
    users, counts = np.unique(ratings[:, 0], return_counts=True)
    enough: np.ndarray = users[counts >= RATINGS_PER_USER]
    return enough


def _draw_ratings(ratings: np.ndarray, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return `RATINGS_PER_USER` ratings of each user, drawn at random."""
    ratings = ratings[np.isin(ratings[:, 0], users)]
    ratings = ratings[rng.permutation(len(ratings))]
    ratings = ratings[np.argsort(ratings[:, 0], kind="stable")]
    _, starts = np.unique(ratings[:, 0], return_index=True)
    drawn: np.ndarray = ratings[(starts[:, None] + np.arange(RATINGS_PER_USER)).ravel()]
    return drawn


def _sum_by_user(row_NC: np.ndarray, user_N: np.ndarray) -> np.ndarray:
    """Return the sums of the rows of each user, [G, C]."""
    _, group_N = np.unique(_groups(user_N), return_inverse=True)
    sum_GC = np.zeros((group_N.max() + 1, row_NC.shape[1]))
    np.add.at(sum_GC, group_N, row_NC)
    return sum_GC


def _groups(user_N: np.ndarray) -> np.ndarray:
    """Return a group for each row: its user, or the row alone for the unknown user."""
    return np.where(user_N > 0, user_N, -1 - np.arange(len(user_N)))


def _resampled_means(value_N: np.ndarray, user_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the mean of the values in resamples of the users, [DRAWS]."""
    sums_G2 = _sum_by_user(np.stack([value_N, np.ones(len(value_N))], axis=1), user_N)
    means = np.empty(DRAWS)
    for draw in range(DRAWS):
        total, count = sums_G2[rng.integers(0, len(sums_G2), len(sums_G2))].sum(0)
        means[draw] = total / count
    return means
