"""Validation of stage 1: metrics on held-out pairs, and the diagnosis of a collapsed model.

Shape suffixes: B batch, D latent, K clusters, R rating levels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gavamoe.preference.batches import Batch, Interactions
from gavamoe.preference.losses import KLWeights
from gavamoe.preference.model import PreferenceModel
from gavamoe.probability_bins import BINS, sums_by_bin

LIVE_CLUSTER_SHARE = 0.01  # a cluster is live if at least this share of the pairs is assigned to it
COLLAPSED_KL = 0.05  # in nats; a posterior whose mean KL is below this is no different from the prior


def validate(model: PreferenceModel, pairs: Interactions, weights: KLWeights) -> dict[str, float]:
    """Return metrics of the model at z = mu, means over the pairs.

    Returns:
        valid_nll: -log p(r | z), in nats.
        valid_rmse, valid_mae: errors of the expected level.
        valid_kl: KL as the training objective weights it, in nats.
        valid_latent_kl: KL of the pair's own latent, unweighted, in nats.
        valid_calibration: expected calibration error over all levels (Naeini et al. 2015): distance of predicted
            probabilities from observed frequencies, over bins of probability, weighted by their size.
        live_clusters: number of clusters with at least `LIVE_CLUSTER_SHARE` of the pairs.
        mixture_entropy: entropy of the mean responsibilities, in nats.
    """
    model.eval()
    totals = _Totals(model)
    for chunk in pairs.chunks():
        totals.add(chunk.to(model.device), weights)
    return totals.metrics(len(pairs))


def diagnose_collapse(joint: dict[str, float], final: dict[str, float], clusters: int) -> str | None:
    """Return what is wrong with a collapsed model and which setting to change; None if it has not collapsed.

    Args:
        joint: the record of the epoch whose weights were kept.
        final: the record of the model after the last mixture fit.
        clusters: K.
    """
    if joint["valid_latent_kl"] < COLLAPSED_KL:
        return (
            f"stage 1 collapsed: the latent says nothing about its pair (KL {joint['valid_latent_kl']:.3f} nats, the "
            "posterior is the prior); lower preference.beta, or provide more reviews per user"
        )
    if clusters > 1 and final["live_clusters"] < 2:
        return (
            f"stage 1 collapsed: {final['live_clusters']} of {clusters} clusters holds {LIVE_CLUSTER_SHARE:.0%} of "
            "the pairs or more; lower preference.beta or preference.clusters, or raise preference.restarts"
        )
    return None


class _Totals:
    """Sums over the pairs that `validate` has seen."""

    def __init__(self, model: PreferenceModel):
        self.model = model
        self.level_R = torch.arange(model.levels, dtype=torch.float32, device=model.device)
        self.sums: dict[str, float] = {}
        self.excess_bins = torch.zeros(BINS, dtype=torch.float64)
        self.gamma_K = torch.zeros(model.clusters, device=model.device)
        self.assigned_K = torch.zeros(model.clusters, device=model.device)

    @torch.no_grad()
    def add(self, batch: Batch, weights: KLWeights) -> None:
        """Add the pairs of a batch."""
        model = self.model
        mu_BD, log_var_BD = model.encode(batch.user_B, batch.item_B)
        losses = model.losses_at(mu_BD, mu_BD, log_var_BD, batch.level_B)
        probability_BR = model.decoder(mu_BD).softmax(-1)
        error_B = probability_BR @ self.level_R - batch.level_B
        self._add_calibration(probability_BR, batch.level_B)
        gamma_BK = model.prior.log_responsibilities(mu_BD).exp()
        self.gamma_K += gamma_BK.sum(0)
        self.assigned_K += torch.bincount(gamma_BK.argmax(-1), minlength=model.clusters)
        terms = {
            "nll": losses.nll,
            "square": error_B.square(),
            "mae": error_B.abs(),
            "kl": weights.weighted_kl(losses, batch),
            "latent_kl": losses.kl_user + losses.kl_item,
        }
        for name, term_B in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(term_B.sum(dtype=torch.float64))

    def _add_calibration(self, probability_BR: Tensor, level_B: Tensor) -> None:
        """Add predicted probability minus observed frequency to the bin of each probability."""
        excess_BR = probability_BR - nn.functional.one_hot(level_B, self.model.levels)
        p, excess = (each_BR.flatten().cpu().numpy() for each_BR in (probability_BR, excess_BR))
        self.excess_bins += torch.from_numpy(sums_by_bin(p, excess))

    def metrics(self, count: int) -> dict[str, float]:
        """Return the metrics of `validate` for `count` pairs."""
        mean = {name: total / count for name, total in self.sums.items()}
        share_K = self.gamma_K / count
        return {
            "valid_nll": mean["nll"],
            "valid_rmse": mean["square"] ** 0.5,
            "valid_mae": mean["mae"],
            "valid_kl": mean["kl"],
            "valid_latent_kl": mean["latent_kl"],
            "valid_calibration": float(self.excess_bins.abs().sum()) / (count * self.model.levels),
            "live_clusters": int((self.assigned_K >= LIVE_CLUSTER_SHARE * count).sum()),
            "mixture_entropy": float(-(share_K * share_K.clamp_min(1e-12).log()).sum()),
        }
