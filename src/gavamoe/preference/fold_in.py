"""Fold-in: estimate a user that the model does not know from rated items, without training.

The trained users are the prior: each is as likely as any other before a rating is seen (empirical Bayes).

    w_u = softmax_u  sum_i log p(r_i | z = [mu_user(u), mu_item(i)])    posterior of the trained users u
    e   = sum_u w_u e_u                                                 posterior mean of their embeddings

The likelihoods are those of `posterior`. The weights of the model do not change. A guest is an estimated user who gets
an id above those of the trained users.
Shape suffixes: B pairs, P users of the prior, U users of an estimate, M guests, W width of a table.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from gavamoe.errors import DataError
from gavamoe.preference.id_table import IdTable
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.networks import UNKNOWN, PairEncoder
from gavamoe.preference.posterior import prior_ids, user_log_likelihoods

SMALLEST_WEIGHT = 1e-6  # users with a smaller posterior are left out of the mean
ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True)
class UserEstimate:
    """The posterior of one user over the trained users.

    Args:
        user_ids: trained users with a noticeable posterior; the unknown user alone if no rating was used, [U].
        weights: their posterior, summing to 1, [U].
        ratings: how many ratings were used.
        ignored: positions of the ratings that were ignored, because the model does not know their items.
    """

    user_ids: Tensor
    weights: Tensor
    ratings: int
    ignored: tuple[int, ...]

    def mean(self, table: IdTable) -> Tensor:
        """Return the posterior mean of the users' vectors in a table, [W]."""
        return self._mean(table(self.user_ids.to(table.weight.device)))

    def mean_row(self, table_UW: Tensor) -> Tensor:
        """Return the posterior mean of the rows of an array with one for each user, the unknown included, [W]."""
        return self._mean(table_UW[self.user_ids.to(table_UW.device)])

    def _mean(self, vectors_UW: Tensor) -> Tensor:
        return self.weights.to(vectors_UW.device, vectors_UW.dtype) @ vectors_UW


@torch.no_grad()
def infer_user(model: PreferenceModel, item_ids: Sequence[int], levels: Sequence[int]) -> UserEstimate:
    """Estimate a user from (item, level) pairs. The result is deterministic and independent of their order.

    Args:
        model: a trained model.
        item_ids: ids of the rated items; 0, the unknown item, is ignored.
        levels: levels 1..R, one for each item.

    Raises:
        DataError: an id or a level is out of range, or the lengths differ.
    """
    if len(item_ids) != len(levels):
        raise DataError(f"expected a level for each item, found {len(item_ids)} items and {len(levels)} levels")
    for item, level in zip(item_ids, levels, strict=True):
        if not 0 <= item <= model.items or not 1 <= level <= model.levels:
            raise DataError(f"item id {item}, level {level}: expected ids 0..{model.items}, levels 1..{model.levels}")
    ignored = tuple(place for place, item in enumerate(item_ids) if item == UNKNOWN)
    known = [(UNKNOWN, int(i), int(r)) for i, r in zip(item_ids, levels, strict=True) if i != UNKNOWN]
    if not known:
        return UserEstimate(torch.tensor([UNKNOWN]), torch.ones(1), 0, ignored)
    model.eval()
    prior_P = prior_ids(torch.arange(1, model.users + 1))
    log_p_1P = user_log_likelihoods(model, np.array(known), np.array([UNKNOWN]), prior_P)
    weight_P = log_p_1P[0].softmax(-1)
    (kept_U,) = (weight_P >= min(SMALLEST_WEIGHT, float(weight_P.max()))).nonzero(as_tuple=True)
    weight_U = weight_P[kept_U] / weight_P[kept_U].sum()
    return UserEstimate(prior_P[kept_U], weight_U, len(known), ignored)


class GuestTable(nn.Module):
    """An embedding table with further rows behind its last one; the table itself is shared, not copied.

    Args:
        table: the rows of the unknown user and of the trained users.
        guests_MW: the rows of guests; the first has the id `table.ids`.
    """

    def __init__(self, table: IdTable, guests_MW: Tensor):
        super().__init__()
        self.table, self.guests_MW = table, guests_MW

    @property
    def weight(self) -> Tensor:
        """The rows of the trained users and of the unknown one."""
        return self.table.weight

    @property
    def row_N(self) -> Tensor | None:
        """The row of each trained user where they share rows."""
        return self.table.row_N

    def forward(self, id_B: Tensor) -> Tensor:
        """Return the rows of ids, [B, W]."""
        known = self.table.ids
        rows_BW: Tensor = self.table(id_B.clamp_max(known - 1))
        is_guest_B1 = (id_B >= known).unsqueeze(-1)
        return torch.where(is_guest_B1, self.guests_MW[(id_B - known).clamp_min(0)].to(rows_BW.dtype), rows_BW)


def with_guests(model: PreferenceModel, estimates: Sequence[UserEstimate]) -> PreferenceModel:
    """Return a model that also has the estimated users, with the ids users + 1, users + 2, ...

    All weights are shared with `model`. `latent_means` and `embedding_tables` return trained users only.
    """
    view = shallow_copy(model)
    view.encoder = _encoder_with_guests(model.encoder, estimates)
    if model.text is not None:
        view.text = shallow_copy(model.text)
        view.text.encoder = _encoder_with_guests(model.text.encoder, estimates)
    return view


def _encoder_with_guests(encoder: PairEncoder, estimates: Sequence[UserEstimate]) -> PairEncoder:
    view, user = shallow_copy(encoder), shallow_copy(encoder.user)
    user.offset = guest_table(encoder.user.offset, estimates)  # type: ignore[assignment] # called like a table
    view.user = user
    return view


@torch.no_grad()
def guest_table(table: IdTable, estimates: Sequence[UserEstimate]) -> GuestTable:
    """Return a table of users with a row for each estimated user: the posterior mean of the trained users' rows."""
    return GuestTable(table, torch.stack([estimate.mean(table) for estimate in estimates]))


def shallow_copy(module: ModuleT) -> ModuleT:
    """Return a module with the same weights and parts, whose parts can be replaced without a change of `module`."""
    view = copy.copy(module)
    view._modules = dict(module._modules)
    return view
