"""Update stage 1: go on from the weights of a trained model (`warm_start`), with its prior and its cluster numbers.

    warm_model -> cover_posteriors -> validation as epoch 0 -> phase "joint" at full beta
               -> fit_components from the anchored users -> "done"

There is no SVD start, no pretraining and no warm-up of beta. The warm weights count as an epoch for early stopping, so
an update never ends with a worse validation objective than it began with. The last mixture fit starts from the users'
clusters in the trained model, so that clusters, and with them the gates of stage 2, keep their numbers.

Shape suffixes: B pairs, D latent, K clusters, U users + 1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gavamoe.preference.batches import Batch
from gavamoe.preference.losses import KLWeights
from gavamoe.preference.mixture_fit import fit_components
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import INIT_REVIEWS, PreferenceTrainer

SMALLEST_VARIANCE = 1e-4  # of a component


class PreferenceUpdate(PreferenceTrainer):
    """One update of stage 1; pass it to `fit_preference` with its anchors bound.

    Args:
        arguments: those of `PreferenceTrainer`; the model is the result of `warm_model`.
        anchor_U: the cluster that each user had in the trained model, -1 for new users, [users + 1].
    """

    first_phase = "joint"

    def __init__(self, *arguments: Any, anchor_U: Tensor):
        self.anchor_U = anchor_U
        super().__init__(*arguments)

    def run(self, until: str) -> list[dict[str, Any]]:
        """Validate the warm weights as epoch 0, then train."""
        if not self.resumes:
            self._validate({"phase": "joint", "epoch": 0, "beta": self.config.beta, "settled": True})
        return super().run(until)

    def _initialise(self) -> None:
        """Keep the warm weights; only the components change."""
        cover_posteriors(self.model, self.train.sample(INIT_REVIEWS), self.kl_weights)

    def _epoch_limits(self) -> dict[str, int]:
        return {"joint": self.config.update_epochs}

    def _beta(self) -> float:
        return self.config.beta

    def at_full_beta(self) -> bool:
        """Return True: every epoch of an update minimises the whole objective."""
        return True

    def _fit_components(self) -> None:
        count_U, _ = self.train.counts(self.model.users, self.model.items)
        pairs = self.train.sample(INIT_REVIEWS)
        fit_components(self.model, count_U, pairs, self.config.restarts, self.seed, self.anchor_U)


@torch.no_grad()
def cover_posteriors(model: PreferenceModel, pairs: Batch, weights: KLWeights) -> None:
    """Set the prior's components to the moments of whole posteriors: one maximisation step of the ELBO.

    A trained model's components were fitted to posterior means alone (`mixture_fit`), so they are narrower than the
    posteriors, and the KL under them is several nats too large. Training from there would first shrink every posterior.

    Args:
        model: changed in place.
        pairs: training pairs, on the CPU.
        weights: of the pairs, so that each user and each item counts once.
    """
    batch, half = pairs.to(model.device), model.encoder.user_latent
    mu_BD, log_var_BD = model.encoder(batch.user_B, batch.item_B)
    gamma_BK = model.prior.log_responsibilities(mu_BD).exp()
    user_B, item_B = weights.user_U[batch.user_B], weights.item_I[batch.item_B]
    weight_BD = torch.cat([user_B[:, None].expand(-1, half), item_B[:, None].expand(-1, mu_BD.shape[1] - half)], dim=1)
    mass_KD = (gamma_BK.T @ weight_BD).clamp_min(1e-9)
    mean_KD = gamma_BK.T @ (weight_BD * mu_BD) / mass_KD
    square_KD = gamma_BK.T @ (weight_BD * (mu_BD.square() + log_var_BD.exp())) / mass_KD
    weight_K = gamma_BK.T @ user_B
    var_KD = (square_KD - mean_KD.square()).clamp_min(SMALLEST_VARIANCE)
    model.prior.set_components(weight_K / weight_K.sum(), mean_KD, var_KD)
