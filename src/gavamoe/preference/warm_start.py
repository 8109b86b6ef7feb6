"""Warm start of stage 1: a trained model, resized for the users and items of newer data.

known user, item                 the trained row, found by name (`IdMap`)
new user                         posterior mean of the trained users' rows, given the new user's ratings of known items
new item                         posterior mean of the trained items' rows, given its ratings by known users
new item, model with features    its description features and no offset, as in `PreferenceModel.with_new_items`

Without a rating of (by) a known id, the posterior is the prior: such a new id starts as the unknown one.
Shape suffixes: N interactions, M new ids, P ids of the prior, R rating levels, E embedding, F features.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gavamoe.data.dataset import InteractionArrays
from gavamoe.data.id_map import IdMap
from gavamoe.preference.model import PreferenceModel

PRIOR_IDS = 2048  # of the posterior; of more trained ids, every k-th is taken
NEW_IDS = 8192  # new ids whose posterior is computed at once


@torch.no_grad()
def warm_model(
    trained: PreferenceModel, ids: IdMap, train: InteractionArrays, feature_IF: Tensor | None = None
) -> PreferenceModel:
    """Return a model of the newer data's size that predicts for known pairs what the trained model predicts.

    Args:
        trained: stage 1 of the older data.
        ids: the older ids of the newer data's users and items.
        train: training interactions of the newer data.
        feature_IF: description features of the newer items, one row for each of ids 1.., in the trained model's space;
            None for a model without features.
    """
    model = type(trained)(len(ids.user) - 1, len(ids.item) - 1, *trained.sizes)
    weights = {name: tensor.cpu() for name, tensor in trained.state_dict().items()}
    for side, old_N in (("user", ids.user), ("item", ids.item)):
        name = f"encoder.{side}.offset.weight"
        weights[name] = weights[name][torch.from_numpy(old_N)]  # the row of the unknown id is 0
    if feature_IF is not None:
        weights["encoder.item.description_NF"] = torch.cat([torch.zeros(1, feature_IF.shape[1]), feature_IF])
    model.load_state_dict(weights)
    model.eval()
    _estimate_users(model, ids, train)
    if feature_IF is None:
        _estimate_items(model, ids, train)
    return model


@torch.no_grad()
def user_responsibilities(model: PreferenceModel) -> Tensor:
    """Return p(c | user) by user id, [users + 1, K]: softmax_c of log pi_c + log N(mu; m_c, s_c^2).

    The density is that of the user's dimensions of z alone.
    """
    mu_UD, prior, own_D = model.latent_means()[0], model.prior, model.user_dimensions
    precision_KD, mean_KD = torch.exp(-prior.log_var_KD[:, own_D]), prior.mean_KD[:, own_D]
    squared_UK = ((mu_UD[:, None] - mean_KD).square() * precision_KD).sum(-1)
    gamma_UK: Tensor = (prior.log_weight_K - 0.5 * (squared_UK - precision_KD.log().sum(-1))).softmax(-1).cpu()
    return gamma_UK


def user_clusters(trained: PreferenceModel, ids: IdMap) -> Tensor:
    """Return the cluster of each newer user in the trained model, -1 for new users and the unknown one, [users + 1]."""
    cluster_U, old_N = user_responsibilities(trained).argmax(-1), torch.from_numpy(ids.user)
    return torch.where(old_N > 0, cluster_U[old_N], -1)


def align_features(trained_NF: Tensor, same_NF: Tensor, new_MF: Tensor) -> Tensor:
    """Map description features of items into the space that a trained model reads.

    A linear map is fitted by least squares on the items that have both. It is the identity where the features were
    computed as those of the trained model were.

    Args:
        trained_NF: features of known items in the trained model.
        same_NF: features of the same items, computed again.
        new_MF: features of other items, computed with `same_NF`.
    """
    map_FF = torch.linalg.lstsq(same_NF.double(), trained_NF.double(), driver="gelsd").solution
    mapped_MF: Tensor = (new_MF.double() @ map_FF).float()
    return mapped_MF


@torch.no_grad()
def user_log_likelihoods(model: PreferenceModel, ratings: np.ndarray, users: np.ndarray, prior_P: Tensor) -> Tensor:
    """Return the log likelihood of the ratings of some users under each user of the prior, [M, P].

    Args:
        model: a trained model.
        ratings: columns user id, item id, level from 1; the user ids may be unknown to the model, [N, 3].
        users: the M user ids, ascending.
        prior_P: user ids of the model.
    """
    mu_UD, mu_ID = model.encoder.latent_means()  # ratings depend on no other dimensions
    return _log_likelihoods(
        ratings, users, len(prior_P), lambda item: _log_p(model, mu_UD[prior_P], mu_ID[item].expand(len(prior_P), -1))
    )


def _estimate_users(model: PreferenceModel, ids: IdMap, train: InteractionArrays) -> None:
    """Set the offsets of new users to their posterior means."""
    rated, prior_P = _ratings(train, ids, "user"), _prior(ids.user)
    _set_posterior_means(
        model.encoder.user.offset.weight,
        rated,
        prior_P,
        lambda part, new: user_log_likelihoods(model, part, new, prior_P),
    )


def _estimate_items(model: PreferenceModel, ids: IdMap, train: InteractionArrays) -> None:
    """Set the offsets of new items to their posterior means."""
    mu_UD, mu_ID = model.encoder.latent_means()  # ratings depend on no other dimensions
    rated, prior_P = _ratings(train, ids, "item"), _prior(ids.item)

    def log_likelihoods(part: np.ndarray, new: np.ndarray) -> Tensor:
        return _log_likelihoods(
            part, new, len(prior_P), lambda user: _log_p(model, mu_UD[user].expand(len(prior_P), -1), mu_ID[prior_P])
        )

    _set_posterior_means(model.encoder.item.offset.weight, rated, prior_P, log_likelihoods)


def _prior(old_N: np.ndarray) -> Tensor:
    """Return the known ids, or every k-th of them."""
    known = np.flatnonzero(old_N > 0)
    return torch.from_numpy(known[:: -(-len(known) // PRIOR_IDS)])


def _log_p(model: PreferenceModel, user_PD: Tensor, item_PD: Tensor) -> Tensor:
    """Return log p(r | z) at given latent means of users and items, [P, R]."""
    log_p_PR: Tensor = model.decoder(torch.cat([user_PD, item_PD], dim=-1)).log_softmax(-1)
    return log_p_PR


def _ratings(train: InteractionArrays, ids: IdMap, side: str) -> np.ndarray:
    """Return the ratings of a side's new ids with known ids of the other side: columns new, known, level, [N, 3]."""
    user_N, item_N, level_N = (np.asarray(c, dtype=np.int64) for c in (train.user_id, train.item_id, train.level))
    own_N, other_N = (user_N, item_N) if side == "user" else (item_N, user_N)
    old_own, old_other = (ids.user, ids.item) if side == "user" else (ids.item, ids.user)
    usable_N = (own_N > 0) & (old_own[own_N] == 0) & (old_other[other_N] > 0)
    columns: np.ndarray = np.stack([own_N, other_N, level_N], axis=1)[usable_N]
    return columns


def _set_posterior_means(
    row_NE: Tensor, ratings: np.ndarray, prior_P: Tensor, log_likelihoods: Callable[[np.ndarray, np.ndarray], Tensor]
) -> None:
    """Set the rows of new ids with ratings to the posterior mean of the prior's rows, in place.

    Args:
        row_NE: rows by id.
        ratings: columns new id, id of the other side, level from 1.
        prior_P: the known ids of the posterior.
        log_likelihoods: returns [M, P] for the ratings of M new ids, and these ids.
    """
    new = np.unique(ratings[:, 0])
    for start in range(0, len(new), NEW_IDS):
        chunk_M = new[start : start + NEW_IDS]
        weight_MP = log_likelihoods(ratings[np.isin(ratings[:, 0], chunk_M)], chunk_M).softmax(-1)
        row_NE[torch.from_numpy(chunk_M)] = weight_MP @ row_NE[prior_P]


def _log_likelihoods(ratings: np.ndarray, ids_M: np.ndarray, prior: int, log_p: Callable[[int], Tensor]) -> Tensor:
    """Return the summed log likelihood of the ratings of each id under each id of the prior, [M, P].

    Each id of the other side is decoded once, whatever the number of its ratings.

    Args:
        ratings: columns id, id of the other side, level from 1, [N, 3].
        ids_M: the ids, ascending.
        prior: P, number of ids in the prior.
        log_p: returns log p(r) of the prior's ids with one id of the other side, [P, R].
    """
    ratings = ratings[np.argsort(ratings[:, 1], kind="stable")]
    others, starts = np.unique(ratings[:, 1], return_index=True)
    total_MP = torch.zeros(len(ids_M), prior)
    for other, part in zip(others, np.split(ratings, starts[1:]), strict=True):
        place_N = torch.from_numpy(np.searchsorted(ids_M, part[:, 0]))
        log_p_PR = log_p(int(other)).cpu()
        total_MP.index_add_(0, place_N, log_p_PR[:, torch.from_numpy(part[:, 2] - 1)].T)
    return total_MP
