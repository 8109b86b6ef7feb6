"""How a model does on pairs it did not learn from."""

from __future__ import annotations

import torch
from torch import nn

from gavamoe.preference.batches import Interactions
from gavamoe.preference.losses import KLWeights
from gavamoe.preference.model import PreferenceModel

LIVE_SHARE = 0.01  # a cluster is live when at least this share of the pairs is assigned to it


BINS = 10  # of probability, for the calibration


SILENT_NATS = 0.05  # a latent that tells less than this of its pair is the prior


@torch.no_grad()
def validate(model: PreferenceModel, pairs: Interactions, weights: KLWeights) -> dict[str, float]:
    """Means over the pairs at z = mu: NLL, RMSE and MAE in levels, KL as it is counted and as the pair's own; live
    clusters, mixture entropy, calibration error. NLL, KL and entropy in nats.

    The calibration error is how far the probabilities of levels are from how often the levels occur, over BINS bins of
    probability, weighted by their size (expected calibration error, Naeini et al. 2015, over all levels).
    """
    model.eval()
    level_R = torch.arange(model.levels, dtype=torch.float32, device=model.device)
    excess_bins = torch.zeros(BINS, dtype=torch.float64, device=model.device)
    sums: dict[str, float] = {}
    share_K, assigned_K = (torch.zeros(model.clusters, device=model.device) for _ in range(2))
    for chunk in pairs.chunks():
        batch = chunk.to(model.device)
        mu_BD, log_var_BD = model.encoder(batch.user_B, batch.item_B)
        losses = model.losses_at(mu_BD, mu_BD, log_var_BD, batch.level_B)
        chance_BR = model.decoder(mu_BD).softmax(-1)
        error_B = chance_BR @ level_R - batch.level_B
        bin_BR = (chance_BR * BINS).long().clamp_max(BINS - 1).flatten()
        excess_BR = chance_BR - nn.functional.one_hot(batch.level_B, model.levels)
        excess_bins.index_add_(0, bin_BR, excess_BR.flatten().double())
        gamma_BK = model.prior.log_responsibilities(mu_BD).exp()
        share_K += gamma_BK.sum(0)
        assigned_K += torch.bincount(gamma_BK.argmax(-1), minlength=model.clusters)
        parts = {
            "nll": losses.nll,
            "square": error_B.square(),
            "mae": error_B.abs(),
            "kl": weights.kl(losses, batch),
            "latent_kl": losses.kl_user + losses.kl_item,
        }
        sums = {name: sums.get(name, 0.0) + float(part.sum(dtype=torch.float64)) for name, part in parts.items()}
    mean = {name: total / len(pairs) for name, total in sums.items()}
    share_K /= len(pairs)
    return {
        "valid_nll": mean["nll"],
        "valid_rmse": mean["square"] ** 0.5,
        "valid_mae": mean["mae"],
        "valid_kl": mean["kl"],
        "valid_latent_kl": mean["latent_kl"],
        "valid_calibration": float(excess_bins.abs().sum()) / (len(pairs) * model.levels),
        "live_clusters": int((assigned_K >= LIVE_SHARE * len(pairs)).sum()),
        "mixture_entropy": float(-(share_K * share_K.clamp_min(1e-12).log()).sum()),
    }


def diagnose_collapse(joint: dict[str, float], final: dict[str, float], clusters: int) -> str | None:
    """What went wrong where a model has collapsed, and what to change; None where it has not.

    joint: the record of the weights that were kept. final: of the model with the mixture fitted to them.
    """
    if joint["valid_latent_kl"] < SILENT_NATS:
        return (
            f"stage 1 collapsed: the latent says nothing of its pair (KL {joint['valid_latent_kl']:.3f} nats, the "
            "posterior is the prior); lower preference.beta, or give it more reviews a user"
        )
    if clusters > 1 and final["live_clusters"] < 2:
        return (
            f"stage 1 collapsed: {final['live_clusters']} of {clusters} clusters holds {LIVE_SHARE:.0%} of the pairs "
            "or more; lower preference.beta or preference.clusters, or raise preference.restarts"
        )
    return None
