"""The posterior of an id that the model does not know over the trained ones, given its ratings with known ids.

    w_u = softmax_u  sum_i log p(r_i | z = [mu_user(u), mu_item(i)])    a user; an item likewise, over the trained items

Each trained id is as likely as any other before a rating is seen (empirical Bayes). A guest (`fold_in`), a new id of an
update (`warm_start`) and a check of drift read the same likelihoods under the same prior.
Shape suffixes: N ratings, M unknown ids, P ids of the prior, B ids of the other side, R rating levels, D latent.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gavamoe.preference.model import PreferenceModel

PRIOR_IDS = 4_096  # of a posterior; of more trained ids, every k-th is taken, because the time grows with them
PAIRS_PER_CHUNK = 65_536  # (user, item) pairs that are decoded at once


def prior_ids(known_N: Tensor) -> Tensor:
    """Return the ids of the prior: the known ids, or every k-th of them if there are more than `PRIOR_IDS`, [P].

    Args:
        known_N: the known ids in the order of the trained model, so that every caller takes the same ones, [N].
    """
    return known_N[:: max(-(-len(known_N) // PRIOR_IDS), 1)]


@torch.no_grad()
def user_log_likelihoods(model: PreferenceModel, ratings: np.ndarray, users: np.ndarray, prior_P: Tensor) -> Tensor:
    """Return the log likelihood of the ratings of some users under each user of the prior, [M, P], on the CPU.

    Args:
        model: a trained model.
        ratings: columns user id, item id, level from 1; the user ids may be unknown to the model, [N, 3].
        users: the M user ids, ascending.
        prior_P: user ids of the model.
    """
    encoder = model.encoder  # ratings depend on no other dimensions
    mu_PD = encoder.user(prior_P.to(model.device))[0]
    return _log_likelihoods(
        ratings, users, len(prior_P), lambda item_B: _log_p(model, mu_PD, encoder.item(item_B.to(model.device))[0])
    )


@torch.no_grad()
def item_log_likelihoods(model: PreferenceModel, ratings: np.ndarray, items: np.ndarray, prior_P: Tensor) -> Tensor:
    """Return the log likelihood of the ratings of some items under each item of the prior, [M, P], on the CPU.

    Args:
        model: a trained model.
        ratings: columns item id, user id, level from 1; the item ids may be unknown to the model, [N, 3].
        items: the M item ids, ascending.
        prior_P: item ids of the model.
    """
    encoder = model.encoder
    mu_PD = encoder.item(prior_P.to(model.device))[0]
    return _log_likelihoods(
        ratings,
        items,
        len(prior_P),
        lambda user_B: _log_p(model, encoder.user(user_B.to(model.device))[0], mu_PD).transpose(0, 1),
    )


def _log_p(model: PreferenceModel, user_UD: Tensor, item_ID: Tensor) -> Tensor:
    """Return log p(r | z) of each user with each item at their latent means, [users, items, R]."""
    users, items = len(user_UD), len(item_ID)
    z_UID = torch.cat([user_UD[:, None].expand(-1, items, -1), item_ID[None].expand(users, -1, -1)], dim=-1)
    log_p_UIR: Tensor = model.decoder(z_UID.flatten(0, 1)).log_softmax(-1).view(users, items, -1)
    return log_p_UIR


def _log_likelihoods(ratings: np.ndarray, ids_M: np.ndarray, prior: int, log_p: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the summed log likelihood of the ratings of each id under each id of the prior, [M, P].

    Each id of the other side is decoded once, whatever the number of its ratings. The order of the ratings changes no
    bit of the sums.

    Args:
        ratings: columns id, id of the other side, level from 1, [N, 3].
        ids_M: the ids, ascending.
        prior: P, number of ids in the prior.
        log_p: returns log p(r) of the prior's ids with ids of the other side, [P, B, R].
    """
    ratings = ratings[np.lexsort((ratings[:, 2], ratings[:, 0], ratings[:, 1]))]
    others, starts = np.unique(ratings[:, 1], return_index=True)
    total_MP = torch.zeros(len(ids_M), prior)
    step = max(PAIRS_PER_CHUNK // max(prior, 1), 1)
    for first in range(0, len(others), step):
        other_B = others[first : first + step]
        end = starts[first + step] if first + step < len(others) else len(ratings)
        part = ratings[starts[first] : end]
        place_N, of_other_N = (
            torch.from_numpy(np.searchsorted(ids, part[:, column])) for column, ids in ((0, ids_M), (1, other_B))
        )
        log_p_PBR = log_p(torch.from_numpy(other_B)).cpu()
        total_MP.index_add_(0, place_N, log_p_PBR[:, of_other_N, torch.from_numpy(part[:, 2] - 1)].T)
    return total_MP
