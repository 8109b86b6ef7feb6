"""Fit the components of the mixture prior to the users' posterior means.

The trainer calls this twice: before the joint training, which starts from the fitted components, and once after it.
The second fit is needed because the ELBO makes a component cover whole posteriors. Where users have few reviews, the
posteriors overlap, and the mixture with the best ELBO is one component, however far apart the means are. The most
likely cluster of a pair is a question about the means.

A model that also reads texts is fitted to pairs instead of users (`_fit_to_pairs`).

Shape suffixes: B pairs, N users, U users + 1, K clusters, D latent.
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
from gavamoe.preference.prior import MixturePrior

MAX_USERS = 50_000  # largest number of users in a fit; its cost does not grow with the data beyond that
MIN_REVIEWS = 10.0  # with fewer reviews, a user's embedding says more about its initialisation than about the user


def fit_components(
    model: PreferenceModel, count_U: Tensor, pairs: Batch, restarts: int, seed: int, anchor_U: Tensor | None = None
) -> None:
    """Set the prior's components from the posterior means of training pairs.

    The clusters are found among USERS, on their half of z, because taste belongs to a user. A mixture over all
    dimensions could just as well split the items into K groups. In the items' half, a component takes the mean and
    the variance of the pairs of its users.

    Args:
        model: changed in place.
        count_U: training reviews of each user.
        pairs: training pairs, on the CPU.
        restarts: random starts of the fit; the most likely fit is kept.
        seed: of the fit.
        anchor_U: the cluster that each user had before an update, -1 for a new user. The fit then starts from the
            anchored users of each cluster instead of at random, so that clusters keep their numbers.

    Raises:
        ConfigError: there are fewer users with reviews than clusters.
    """
    latent_ND = fitted_latents(model, count_U, pairs, model.clusters)
    if model.text is not None:
        _fit_to_pairs(model, latent_ND, restarts, seed)
        return
    user_UD = model.latent_means()[0].cpu()
    start = None if anchor_U is None else _anchored_start(user_UD, anchor_U, model.prior)
    mixture = fit_user_mixture(latent_ND, model.clusters, restarts, seed, start)
    cluster_B = torch.from_numpy(mixture.predict(user_UD.numpy()))[pairs.user_B]
    mean_KD, var_KD = _moments(model.latent(pairs.user_B, pairs.item_B).cpu(), cluster_B, model.clusters)
    half = user_UD.shape[1]
    mean_KD[:, :half] = torch.from_numpy(mixture.means_)
    var_KD[:, :half] = torch.from_numpy(mixture.covariances_)[:, None]
    model.prior.set_components(torch.from_numpy(mixture.weights_).float(), mean_KD, var_KD)


def _fit_to_pairs(model: PreferenceModel, latent_ND: np.ndarray, restarts: int, seed: int) -> None:
    """Set the prior's components from a mixture of the latents of training pairs, [N, D].

    What a review speaks of depends on the item more than on the user. A mixture over users alone cannot express that,
    so the clusters of a model that reads are clusters of (user, item) pairs, over all dimensions of z.
    """
    mixture = fit_user_mixture(latent_ND, model.clusters, restarts, seed)
    mean_KD, var_K = torch.from_numpy(mixture.means_).float(), torch.from_numpy(mixture.covariances_).float()
    model.prior.set_components(torch.from_numpy(mixture.weights_).float(), mean_KD, var_K[:, None].expand_as(mean_KD))


def fitted_latents(model: PreferenceModel, count_U: Tensor, pairs: Batch, clusters: int = 1) -> np.ndarray:
    """Return the latents that a mixture of `clusters` is fitted to: of users, or of pairs if the model reads texts."""
    return observed_user_latents(model, count_U, clusters) if model.text is None else pair_latents(model, pairs)


def pair_latents(model: PreferenceModel, pairs: Batch) -> np.ndarray:
    """Return the latent means of at most `MAX_USERS` of the pairs, evenly spaced, [N, D]."""
    step = -(-len(pairs) // MAX_USERS)
    return model.latent(pairs.user_B[::step], pairs.item_B[::step]).cpu().numpy()


def observed_user_latents(model: PreferenceModel, count_U: Tensor, clusters: int = 1) -> np.ndarray:
    """Return the latent means (users' half) of the users that the mixture is fitted to, [N, D/2].

    These are the users with at least `MIN_REVIEWS` reviews, or with at least the median number if that is smaller.
    The latents of other users have hardly moved from their initialisation: they are assigned to a cluster, not fitted.
    Where these users are fewer than `clusters`, all users with reviews are taken.
    """
    seen_U = count_U > 0
    observed_U = seen_U & (count_U >= min(float(count_U[seen_U].float().median()), MIN_REVIEWS))
    return model.latent_means()[0].cpu()[observed_U if observed_U.sum() >= clusters else seen_U].numpy()


def _anchored_start(user_UD: Tensor, anchor_U: Tensor, prior: MixturePrior) -> dict[str, np.ndarray]:
    """Return what a fit starts from: weights, means and precisions of each cluster's anchored users.

    A cluster with less than two anchored users starts from its component of the prior.
    """
    half, count_K = user_UD.shape[1], torch.bincount(anchor_U[anchor_U >= 0], minlength=len(prior.mean_KD))
    mean_KD = prior.mean_KD.detach().cpu()[:, :half].double()
    var_K = prior.log_var_KD.detach().cpu()[:, :half].double().exp().mean(1)
    for cluster in range(len(mean_KD)):
        members = user_UD[anchor_U == cluster].double()
        if len(members) > 1:
            mean_KD[cluster], var_K[cluster] = members.mean(0), members.var(0).mean()
    weight_K = (count_K + 1).double()
    return {
        "weights_init": (weight_K / weight_K.sum()).numpy(),
        "means_init": mean_KD.numpy(),
        "precisions_init": (1 / var_K.clamp_min(1e-6)).numpy(),
    }


def fit_user_mixture(
    latent_ND: np.ndarray, clusters: int, restarts: int, seed: int, start: dict[str, np.ndarray] | None = None
) -> GaussianMixture:
    """Return a Gaussian mixture of users' latents with one variance per component.

    Dozens of users per cluster are too few for one variance per dimension: components then differ in how much their
    users review.

    Args:
        latent_ND: latents of the users, [N, D/2].
        clusters: K.
        restarts: random starts; the most likely fit is kept.
        seed: of the starts.
        start: weights, means and precisions to start from instead; component c of the fit begins at their row c.

    Raises:
        ConfigError: there are fewer users than clusters.
    """
    if len(latent_ND) < clusters:
        raise ConfigError(
            f"{clusters} clusters need at least as many users with reviews, and there are {len(latent_ND)}; "
            "set preference.clusters lower"
        )
    if len(latent_ND) > MAX_USERS:
        latent_ND = latent_ND[np.random.default_rng(seed).choice(len(latent_ND), MAX_USERS, replace=False)]
    mixture = GaussianMixture(
        clusters,
        covariance_type="spherical",
        n_init=restarts if start is None else 1,
        random_state=seed,
        reg_covar=max(1e-3 * float(latent_ND.var()), 1e-9),
        **(start or {}),
    )
    with warnings.catch_warnings():
        # Harmless here: fewer distinct users than clusters, or the last digits converge slowly.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(latent_ND.astype(np.float64))


def _moments(mu_BD: Tensor, cluster_B: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each cluster's pairs, [K, D]; those of all pairs for a cluster of less than two."""
    means, variances = [], []
    for cluster in range(clusters):
        members = mu_BD[cluster_B == cluster]
        members = mu_BD if len(members) < 2 else members
        means.append(members.mean(0))
        variances.append(members.var(0) + 1e-4)
    return torch.stack(means), torch.stack(variances)
