"""Where the mixture's components lie: fitted to the users' posterior means, several restarts, the likeliest kept.

This happens before the joint training, which goes on from there, and once more after it. The ELBO asks a component to
cover whole posteriors; where users have few reviews these overlap, and its best mixture is one component, however far
apart the means are. Which taste a pair most likely has is a question about the means.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from gavamoe.errors import ConfigError
from gavamoe.preference.batches import Batch
from gavamoe.preference.model import PreferenceModel

# The fit sees at most so many users: its cost does not grow with the data beyond that.
SAMPLE = 50_000
ENOUGH = 10.0  # reviews after which a user's vector says more of the user than of where it began


def fit_components(model: PreferenceModel, count_U: Tensor, pairs: Batch, restarts: int, seed: int) -> None:
    """Set the prior's components from the posterior means of training pairs.

    The groups are found among USERS, on their half of the latent: taste belongs to a user, and a mixture over all
    dimensions at once would as soon cut the items in K. Over the items' half, a component takes mean and variance of
    the pairs of its users.

    count_U: training reviews of each user, [users + 1].
    """
    mixture = fit_users(known_users(model, count_U), model.clusters, restarts, seed)
    user_ND = model.latent_means()[0].cpu()
    cluster_B = torch.from_numpy(mixture.predict(user_ND.numpy()))[pairs.user_B]
    mean_KD, var_KD = _moments(model.latent(pairs.user_B, pairs.item_B).cpu(), cluster_B, model.clusters)
    half = user_ND.shape[1]
    mean_KD[:, :half] = torch.from_numpy(mixture.means_)
    var_KD[:, :half] = torch.from_numpy(mixture.covariances_)[:, None]
    model.prior.set_components(torch.from_numpy(mixture.weights_).float(), mean_KD, var_KD)


def known_users(model: PreferenceModel, count_U: Tensor) -> np.ndarray:
    """The latent means, users' half, of users with ENOUGH reviews, or as many as the median user, [n, D/2].

    The others are assigned, not fitted: their vectors have hardly left the origin.
    """
    seen_U = count_U > 0
    least = min(float(count_U[seen_U].float().median()), ENOUGH)
    return model.latent_means()[0].cpu()[seen_U & (count_U >= least)].numpy()


def fit_users(known: np.ndarray, clusters: int, restarts: int, seed: int) -> GaussianMixture:
    """A mixture over users' latents; `ConfigError` when there are fewer users than clusters.

    One variance a component: with one a dimension, dozens of users a cluster are too few, and what sets a component
    apart is how much its users review.
    """
    if len(known) < clusters:
        raise ConfigError(
            f"{clusters} clusters need at least as many users with reviews, and there are {len(known)}; "
            "set preference.clusters lower"
        )
    if len(known) > SAMPLE:
        known = known[np.random.default_rng(seed).choice(len(known), SAMPLE, replace=False)]
    mixture = GaussianMixture(
        clusters,
        covariance_type="spherical",
        n_init=restarts,
        random_state=seed,
        reg_covar=max(1e-3 * float(known.var()), 1e-9),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct users than clusters, or a slow last digit
        return mixture.fit(known.astype(np.float64))


def _moments(mu_BD: Tensor, cluster_B: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of each cluster's pairs, [K, D]; one that got fewer than two takes those of all pairs."""
    means, variances = [], []
    for cluster in range(clusters):
        members = mu_BD[cluster_B == cluster]
        members = mu_BD if len(members) < 2 else members
        means.append(members.mean(0))
        variances.append(members.var(0) + 1e-4)
    return torch.stack(means), torch.stack(variances)
