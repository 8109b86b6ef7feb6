"""Warm start of stage 1: a trained model, resized for the users and items of newer data.

known user, item                 the trained row, found by name (`IdMap`)
new user                         posterior mean of the trained users' rows, given the new user's ratings of known items
new item                         posterior mean of the trained items' rows, given its ratings by known users
new item, model with features    its description features and no offset, as in `PreferenceModel.with_new_items`

Where users share rows (`id_table`), a known user keeps its row, and a new one shares rows.
Without a rating of (by) a known id, the posterior is the prior: such a new id starts as the unknown one.
Shape suffixes: N interactions, M new ids, P ids of the prior, E embedding, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from gavamoe.data.dataset import InteractionArrays
from gavamoe.data.id_map import IdMap
from gavamoe.preference.id_table import extend_rows
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.posterior import item_log_likelihoods, prior_ids, user_log_likelihoods

NEW_IDS = 4096  # new ids whose posterior is computed at once: 64 MiB with the largest prior


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
    user_row_N = trained.user_row_N
    if user_row_N is None:
        weights["encoder.user.offset.weight"] = weights["encoder.user.offset.weight"][torch.from_numpy(ids.user)]
    else:
        assert trained.user_rows is not None
        weights["encoder.user.offset.row_N"] = extend_rows(user_row_N.cpu(), ids.user, trained.user_rows)
    # The row of the unknown id is 0.
    weights["encoder.item.offset.weight"] = weights["encoder.item.offset.weight"][torch.from_numpy(ids.item)]
    if feature_IF is not None:
        weights["encoder.item.description_NF"] = torch.cat([torch.zeros(1, feature_IF.shape[1]), feature_IF])
    model.load_state_dict(weights)
    model.eval()
    if user_row_N is None:
        _estimate_users(model, ids, train)
    if feature_IF is None:
        _estimate_items(model, ids, train)
    return model


@torch.no_grad()
def user_responsibilities(model: PreferenceModel) -> Tensor:
    """Return p(c | user) by user id, [users + 1, K]: that of the user's dimensions of z alone."""
    mu_UD, _ = model.latent_means()
    return model.prior.log_joint(mu_UD, model.user_dimensions).softmax(-1).cpu()


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


def _estimate_users(model: PreferenceModel, ids: IdMap, train: InteractionArrays) -> None:
    """Set the offsets of new users to their posterior means."""
    ratings, offset_NE = _ratings(train, ids, "user"), model.encoder.user.offset.weight
    _set_posterior_means(offset_NE, ratings, _prior(ids.user), partial(user_log_likelihoods, model))


def _estimate_items(model: PreferenceModel, ids: IdMap, train: InteractionArrays) -> None:
    """Set the offsets of new items to their posterior means."""
    ratings, offset_NE = _ratings(train, ids, "item"), model.encoder.item.offset.weight
    _set_posterior_means(offset_NE, ratings, _prior(ids.item), partial(item_log_likelihoods, model))


def _prior(old_N: np.ndarray) -> Tensor:
    """Return the newer ids of the prior, in the order of the older ones: the prior of a guest of the trained model."""
    known = np.flatnonzero(old_N > 0)
    return prior_ids(torch.from_numpy(known[np.argsort(old_N[known], kind="stable")]))


def _ratings(train: InteractionArrays, ids: IdMap, side: str) -> np.ndarray:
    """Return the ratings of a side's new ids with known ids of the other side: columns new, known, level, [N, 3]."""
    user_N, item_N, level_N = (np.asarray(c, dtype=np.int64) for c in (train.user_id, train.item_id, train.level))
    own_N, other_N = (user_N, item_N) if side == "user" else (item_N, user_N)
    old_own, old_other = (ids.user, ids.item) if side == "user" else (ids.item, ids.user)
    usable_N = (own_N > 0) & (old_own[own_N] == 0) & (old_other[other_N] > 0)
    columns: np.ndarray = np.stack([own_N, other_N, level_N], axis=1)[usable_N]
    return columns


def _set_posterior_means(
    row_NE: Tensor,
    ratings: np.ndarray,
    prior_P: Tensor,
    log_likelihoods: Callable[[np.ndarray, np.ndarray, Tensor], Tensor],
) -> None:
    """Set the rows of new ids with ratings to the posterior mean of the prior's rows, in place.

    Args:
        row_NE: rows by id.
        ratings: columns new id, id of the other side, level from 1.
        prior_P: the known ids of the posterior.
        log_likelihoods: returns [M, P] for the ratings of M new ids, these ids, and the prior.
    """
    new = np.unique(ratings[:, 0])
    for start in range(0, len(new), NEW_IDS):
        chunk_M = new[start : start + NEW_IDS]
        weight_MP = log_likelihoods(ratings[np.isin(ratings[:, 0], chunk_M)], chunk_M, prior_P).softmax(-1)
        row_NE[torch.from_numpy(chunk_M)] = weight_MP @ row_NE[prior_P]
