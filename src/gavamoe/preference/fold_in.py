"""Fold-in: estimate the embedding of a user that the model does not know, from rated items, without training.

    offset = argmin  sum_i -log p(r_i | z = [mu_user(e), mu_item(i)])    ratings
                     + mean_i KL of the user's latent dimensions         mixture prior, counted once per user
                     + 1/2 sum_j offset_j^2 / v_j                        Gaussian prior
    e = typical embedding + offset, v_j = mean square of the trained offsets in dimension j

The weights do not change. Shape suffixes: N rated items, B items, E embedding, D latent, K clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gavamoe.errors import DataError
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.networks import UNKNOWN

STEPS = 30  # iterations of L-BFGS at most; 10 to 20 suffice
MIN_VARIANCE = 1e-8  # of an offset's prior, so that a dimension that no trained user has moved stays near 0


@dataclass(frozen=True)
class UserEstimate:
    """The maximum a posteriori estimate of one user.

    Args:
        model: the model with the estimated user as its only user, id 1.
        ratings: how many ratings were used.
        ignored: positions of the ratings that were ignored, because the model does not know their items.
    """

    model: PreferenceModel
    ratings: int
    ignored: tuple[int, ...]

    @property
    def embedding_E(self) -> Tensor:
        """The estimated embedding, [E]; that of the unknown user if no rating was used."""
        return self.model.embedding_tables()[0][1]

    @property
    def latent_mean(self) -> Tensor:
        """The posterior mean of the user's latent dimensions, [D // 2]."""
        with torch.no_grad():
            self.model.eval()
            mean: Tensor = self.model.encoder.user(self._ids(1))[0][0]
        return mean

    def predict_rating(self, item_B: Tensor) -> Tensor:
        """Return the expected level of each item for this user, between 1 and R, [B]."""
        return self.model.predict_rating(self._ids(len(item_B)), item_B)

    def responsibilities(self, item_B: Tensor) -> Tensor:
        """Return the responsibilities of the clusters for the pairs of this user and each item, [B, K]."""
        return self.model.responsibilities(self._ids(len(item_B)), item_B)

    def _ids(self, count: int) -> Tensor:
        return torch.ones(count, dtype=torch.int64, device=self.model.device)


def infer_user(
    model: PreferenceModel, item_ids: Sequence[int], levels: Sequence[int], beta: float = 1.0
) -> UserEstimate:
    """Estimate a user from (item, level) pairs. The result is deterministic and independent of their order.

    Args:
        model: a trained model.
        item_ids: ids of the rated items; 0, the unknown item, is ignored.
        levels: levels 1..R, one for each item.
        beta: weight of the KL, as in training (`preference.beta`).

    Raises:
        DataError: an id or a level is out of range, or the lengths differ.
    """
    if len(item_ids) != len(levels):
        raise DataError(f"expected a level for each item, found {len(item_ids)} items and {len(levels)} levels")
    for item, level in zip(item_ids, levels, strict=True):
        if not 0 <= item <= model.items or not 1 <= level <= model.levels:
            raise DataError(f"item id {item}, level {level}: expected ids 0..{model.items}, levels 1..{model.levels}")
    ignored = tuple(place for place, item in enumerate(item_ids) if item == UNKNOWN)
    # Sorted, so that the order of the sums, and with it the last bit, does not depend on the caller's order.
    known = sorted((int(i), int(r) - 1) for i, r in zip(item_ids, levels, strict=True) if i != UNKNOWN)
    model.eval()
    offset_E = torch.zeros_like(model.encoder.user.typical_E)
    if known:
        item_N, level_N = torch.tensor(known, dtype=torch.int64, device=model.device).T
        offset_E = _fit_offset(model, item_N, level_N, beta)
    return UserEstimate(model.with_users(offset_E[None]), len(known), ignored)


def _fit_offset(model: PreferenceModel, item_N: Tensor, level_N: Tensor, beta: float) -> Tensor:
    """Return the offset that minimises the objective at the top of the file, [E], starting from 0."""
    user, half = model.encoder.user, model.encoder.user_latent
    with torch.no_grad():
        trained_UE = user.offset.weight[1:]
        scale_E = trained_UE.square().mean(0).clamp_min(MIN_VARIANCE).sqrt()
        item_mu_ND, item_log_var_ND = model.encoder.item(item_N)
        typical_E = user.typical_E.detach()

    def objective(whitened_E: Tensor) -> Tensor:
        mu_1D, log_var_1D = user.encode(typical_E + scale_E * whitened_E[None])
        mu_ND = torch.cat([mu_1D.expand(len(item_N), -1), item_mu_ND], dim=-1)
        log_var_ND = torch.cat([log_var_1D.expand(len(item_N), -1), item_log_var_ND], dim=-1)
        nll = nn.functional.cross_entropy(model.decoder(mu_ND), level_N, reduction="sum")
        gaussian_ND, component_N = model.prior.kl_terms(mu_ND, log_var_ND, model.prior.log_responsibilities(mu_ND))
        kl = (gaussian_ND[:, :half].sum(-1) + component_N).mean()
        return nll + beta * kl + 0.5 * whitened_E.square().sum()

    # In units of the prior's standard deviation all dimensions are alike, which L-BFGS needs to converge quickly.
    whitened_E = torch.zeros_like(scale_E, requires_grad=True)
    optimizer = torch.optim.LBFGS([whitened_E], max_iter=STEPS, line_search_fn="strong_wolfe", tolerance_change=1e-6)

    def closure() -> Tensor:
        loss = objective(whitened_E)
        (whitened_E.grad,) = torch.autograd.grad(loss, whitened_E)  # of the offset alone: no weight gets a gradient
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    return (scale_E * whitened_E).detach()
