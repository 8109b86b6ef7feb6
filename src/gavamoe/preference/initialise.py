"""Where the mixture starts: components fitted to the pretrained user means, several restarts, the likeliest kept."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from gavamoe.errors import ConfigError
from gavamoe.preference.interactions import Batch
from gavamoe.preference.model import PreferenceModel

# The fit sees at most so many users: its cost does not grow with the data beyond that.
SAMPLE = 50_000
ENOUGH = 10.0  # reviews after which a user's vector says more of the user than of where it began


def initialise_mixture(model: PreferenceModel, count_U: Tensor, pairs: Batch, restarts: int, seed: int) -> None:
    """Set the prior's components from the posterior means of training pairs.

    The groups are found among USERS, on their half of the latent: taste belongs to a user, and a mixture over all
    dimensions at once would as soon cut the items in K. Users of few reviews are assigned, not fitted: their vectors
    have hardly left the origin. Each component then takes mean and variance, over both halves,
    of the pairs of its users.

    count_U: training reviews of each user, [users + 1].
    """
    mixture = fit_users(known_users(model, count_U), model.clusters, restarts, seed)
    user_side = model.side_vectors()[0].cpu()
    cluster_U = torch.from_numpy(mixture.predict(user_side.numpy()))
    _take_moments(model, pairs, cluster_U[pairs.user_B])


def known_users(model: PreferenceModel, count_U: Tensor) -> np.ndarray:
    """The latent means, users' half, of users with ENOUGH reviews, or as many as the median user, [n, D/2]."""
    seen_U = count_U > 0
    least = min(float(count_U[seen_U].float().median()), ENOUGH)
    return model.side_vectors()[0].cpu()[seen_U & (count_U >= least)].numpy()


def fit_users(known: np.ndarray, clusters: int, restarts: int, seed: int) -> GaussianMixture:
    """A diagonal mixture of users' latents; `ConfigError` when there are fewer users than clusters."""
    if len(known) < clusters:
        raise ConfigError(
            f"{clusters} clusters need at least as many users with reviews, and there are {len(known)}; "
            "set preference.clusters lower"
        )
    if len(known) > SAMPLE:
        known = known[np.random.default_rng(seed).choice(len(known), SAMPLE, replace=False)]
    mixture = GaussianMixture(
        clusters, covariance_type="diag", n_init=restarts, random_state=seed, reg_covar=1e-3 * float(known.var())
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # joint training goes on from wherever this stops
        return mixture.fit(known)


def _take_moments(model: PreferenceModel, pairs: Batch, cluster_B: Tensor) -> None:
    """Weight, mean and variance of each cluster's pairs; one that got fewer than two takes those of all pairs."""
    mu_BD = model.latent(pairs.user_B, pairs.item_B).cpu()
    share_K = torch.bincount(cluster_B, minlength=model.clusters).float()
    means, variances = [], []
    for cluster in range(model.clusters):
        members = mu_BD[cluster_B == cluster]
        members = mu_BD if len(members) < 2 else members
        means.append(members.mean(0))
        variances.append(members.var(0) + 1e-4)
    model.prior.set_components((share_K + 1) / (share_K + 1).sum(), torch.stack(means), torch.stack(variances))
