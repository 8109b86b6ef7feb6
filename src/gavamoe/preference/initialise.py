"""Where the mixture starts: components fitted to the pretrained user means, several restarts, the likeliest kept."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from gavamoe.errors import ConfigError
from gavamoe.preference.model import PreferenceModel

# The fit sees at most so many users: its cost does not grow with the data beyond that.
SAMPLE = 50_000


def initialise_mixture(model: PreferenceModel, user_N: Tensor, item_N: Tensor, restarts: int, seed: int) -> None:
    """Set the prior's components from the posterior means of the training pairs.

    The groups are found among USERS, on their half of the latent: taste belongs to a user, and a mixture over all
    dimensions at once would as soon cut the items in K. Users with fewer reviews than the median are assigned, not
    fitted: their vectors have hardly left the origin. Each component then takes mean and variance, over both halves,
    of the pairs of its users.
    """
    user_side, _ = model.side_vectors()
    count_U = torch.bincount(user_N, minlength=model.users + 1)
    known_U = count_U > 0
    median = count_U[known_U].float().median()
    fitted = user_side[known_U & (count_U >= median)].numpy()
    if len(fitted) < model.clusters:
        raise ConfigError(
            f"{model.clusters} clusters need at least as many users with reviews, and there are {len(fitted)}; "
            "set preference.clusters lower"
        )
    rng = np.random.default_rng(seed)
    if len(fitted) > SAMPLE:
        fitted = fitted[rng.choice(len(fitted), SAMPLE, replace=False)]
    mixture = GaussianMixture(
        model.clusters, covariance_type="diag", n_init=restarts, random_state=seed, reg_covar=1e-3 * float(fitted.var())
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # joint training goes on from wherever this stops
        mixture.fit(fitted)
    cluster_U = torch.from_numpy(mixture.predict(user_side.numpy()))
    _take_moments(model, model.latent(user_N, item_N), cluster_U[user_N])


def _take_moments(model: PreferenceModel, mu_ND: Tensor, cluster_N: Tensor) -> None:
    """Weight, mean and variance of each cluster's pairs; one that got fewer than two takes those of all pairs."""
    share_K = torch.bincount(cluster_N, minlength=model.clusters).float()
    means, variances = [], []
    for cluster in range(model.clusters):
        members = mu_ND[cluster_N == cluster]
        members = mu_ND if len(members) < 2 else members
        means.append(members.mean(0))
        variances.append(members.var(0) + 1e-4)
    model.prior.set_components((share_K + 1) / (share_K + 1).sum(), torch.stack(means), torch.stack(variances))
