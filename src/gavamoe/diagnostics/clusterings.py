"""The clusters of a run beside other clusterings of the same users, each with the vectors that it was found in.

    run                          Gaussian mixture on stage 1's latents; the labels are the model's own
    k-means, factors             k-means on the user vectors of a biased SVD of the ratings
    k-means, ratings             k-means on the users' rating vectors, minus the items' means; 0 where unrated
    mixture, autoencoder         the same Gaussian mixture on the latents of stage 1 trained without the prior
    random                       a random cluster for each user, with the run's vectors

Shape legend: U users + 1 (row 0 is the unknown user), D dimensions of a vector, N reviews.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.cluster import KMeans

from gavamoe.config import PreferenceConfig
from gavamoe.data.dataset import InteractionArrays
from gavamoe.preference.batches import Batch, Interactions
from gavamoe.preference.mixture_fit import fit_user_mixture
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.svd_init import factorise
from gavamoe.preference.trainer import pretrain

RUN, RANDOM = "this run", "random clusters"
MAX_REVIEWS = 100_000  # training reviews that the other clusterings are fitted to
STARTS = 4  # random starts of each fit
FACTORS = 8  # dimensions of the SVD, at most

Vectors = Any  # np.ndarray [U, D] or scipy.sparse.csr_matrix, which mypy does not know
# Fits to the users of these rows with this seed, and returns the cluster of every user, [U].
Fit = Callable[[np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class UserClustering:
    """A clustering of users.

    Args:
        name: how the report calls it.
        vectors: what the users were clustered by, [U, D].
        label_U: the cluster of each user.
        fit: clusters the users anew.
    """

    name: str
    vectors: Vectors
    label_U: np.ndarray
    fit: Fit


def cluster_users(
    model: PreferenceModel, train: InteractionArrays, valid: InteractionArrays, config: PreferenceConfig, seed: int
) -> list[UserClustering]:
    """Return the run's clustering and the others, with as many clusters each.

    Args:
        model: stage 1 of the run.
        train: training reviews; a random sample of `MAX_REVIEWS` trains the other clusterings.
        valid: validation reviews, for the early stopping of the autoencoder.
        config: settings of stage 1.
        seed: of every random draw.
    """
    seen = np.unique(train.user_id)
    clusters = min(model.clusters, len(seen))
    sample, valid = train.sample(MAX_REVIEWS, seed), valid.sample(MAX_REVIEWS, seed)
    latent_UD = model.latent_means()[0].cpu().numpy()
    own = UserClustering(RUN, latent_UD, run_labels(model, train), _mixture(latent_UD, clusters))
    autoencoder_UD = _autoencoder(model, sample, valid, config, seed)
    others = {
        "k-means on factorisation vectors": _k_means(_factors(model, sample, seed), clusters),
        "k-means on rating vectors": _k_means(_ratings(model, sample), clusters),
        "mixture on autoencoder latents": (autoencoder_UD, _mixture(autoencoder_UD, clusters)),
        RANDOM: (latent_UD, lambda rows, seed: np.random.default_rng(seed).integers(0, clusters, len(latent_UD))),
    }
    rows = np.unique(sample.user_id)
    return [own, *(UserClustering(name, vectors, fit(rows, seed), fit) for name, (vectors, fit) in others.items())]


def run_labels(model: PreferenceModel, train: InteractionArrays) -> np.ndarray:
    """Return the cluster of each user under stage 1, [U]: that of the mean responsibilities of the user's pairs."""
    profile_UK = model.user_profile(train.user_id, train.item_id).cpu()
    everyone_U = torch.arange(model.users + 1)
    without_pairs_U = model.assign(everyone_U, torch.zeros_like(everyone_U)).cpu()
    label_U: np.ndarray = torch.where(profile_UK.sum(1) > 0, profile_UK.argmax(1), without_pairs_U).numpy()
    return label_U


def _mixture(latent_UD: np.ndarray, clusters: int) -> Fit:
    def fit(rows: np.ndarray, seed: int) -> np.ndarray:
        label_U: np.ndarray = fit_user_mixture(latent_UD[rows], clusters, STARTS, seed).predict(latent_UD)
        return label_U

    return fit


def _k_means(vectors: Vectors, clusters: int) -> tuple[Vectors, Fit]:
    def fit(rows: np.ndarray, seed: int) -> np.ndarray:
        label_U: np.ndarray = KMeans(clusters, n_init=STARTS, random_state=seed).fit(vectors[rows]).predict(vectors)
        return label_U

    return vectors, fit


def _factors(model: PreferenceModel, train: InteractionArrays, seed: int) -> np.ndarray:
    """Return the users' vectors of a biased SVD, each factor weighted by how well it predicts held-out ratings."""
    count = min(FACTORS, model.users, model.items)
    batch: Batch = Interactions(train).sample(len(train))
    return factorise(batch, model.users + 1, model.items + 1, count, seed).user_UF


def _ratings(model: PreferenceModel, train: InteractionArrays) -> sparse.csr_matrix:
    """Return each user's ratings minus the items' mean ratings, [U, items + 1]; 0 where there is no rating."""
    total_I = np.bincount(train.item_id, train.level, model.items + 1)
    mean_I = total_I / np.maximum(np.bincount(train.item_id, minlength=model.items + 1), 1)
    centred_N = train.level - mean_I[train.item_id]
    return sparse.csr_matrix((centred_N, (train.user_id, train.item_id)), shape=(model.users + 1, model.items + 1))


def _autoencoder(
    model: PreferenceModel, train: InteractionArrays, valid: InteractionArrays, config: PreferenceConfig, seed: int
) -> np.ndarray:
    """Return the users' latent means of stage 1 trained as an autoencoder: no KL term and no prior, [U, D]."""
    config = config.model_copy(update={"clusters": model.clusters, "item_features": 0, "restarts": 1})
    autoencoder = PreferenceModel.from_config(model.users, model.items, model.levels, config, seed)
    pretrain(autoencoder, train, valid, config, seed)
    latent_UD: np.ndarray = autoencoder.latent_means()[0].cpu().numpy()
    return latent_UD
