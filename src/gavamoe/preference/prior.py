"""The Gaussian-mixture prior over the latent: responsibilities and the closed-form KL, computed in log space.

    p(z) = sum_c pi_c N(z; m_c, diag s_c^2)

Source: VaDE (Jiang et al. 2017), with diagonal components.
Shape suffixes: B batch, K clusters (mixture components), D latent dimensions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LOG_2PI = math.log(2 * math.pi)
# Lower bound of a component's log variance. Without it a component could collapse onto a point, where the likelihood
# is unbounded.
MIN_LOG_VAR = -6.0


class MixturePrior(nn.Module):
    """p(z) = sum_c pi_c N(z; m_c, diag s_c^2) with pi = softmax(logits), so the weights stay on the simplex.

    Args:
        clusters: K, number of components.
        latent: D, dimensions of z.
    """

    def __init__(self, clusters: int, latent: int):
        super().__init__()
        self.logits_K = nn.Parameter(torch.zeros(clusters))
        self.mean_KD = nn.Parameter(torch.randn(clusters, latent))
        self.raw_log_var_KD = nn.Parameter(torch.zeros(clusters, latent))

    @property
    def log_weight_K(self) -> Tensor:
        """Log mixture weights log pi, [K]."""
        return torch.log_softmax(self.logits_K, dim=-1)

    @property
    def log_var_KD(self) -> Tensor:
        """Log variances log s^2, at least `MIN_LOG_VAR`, [K, D]."""
        return self.raw_log_var_KD.clamp_min(MIN_LOG_VAR)

    def log_joint(self, z_BD: Tensor, dimensions: Tensor | slice = slice(None)) -> Tensor:
        """Return log p(z, c) = log pi_c + log N(z; m_c, s_c^2), [B, K]; its logsumexp over c is log p(z).

        Args:
            z_BD: latents.
            dimensions: those of the latent space that z has; all by default.
        """
        log_var_KD, mean_KD = self.log_var_KD[:, dimensions], self.mean_KD[:, dimensions]
        precision_KD = torch.exp(-log_var_KD)
        # (z - m)^2 / s^2 is expanded, so that no [B, K, D] tensor is needed.
        distance_BK = (
            z_BD.square() @ precision_KD.T
            - 2 * z_BD @ (mean_KD * precision_KD).T
            + (mean_KD.square() * precision_KD).sum(-1)
        )
        log_density_BK = -0.5 * (distance_BK + log_var_KD.sum(-1) + z_BD.shape[-1] * LOG_2PI)
        return self.log_weight_K + log_density_BK

    def log_responsibilities(self, z_BD: Tensor) -> Tensor:
        """Return log gamma_c = log p(c | z) = log softmax_c log p(z, c), [B, K].

        Log space keeps it finite at any number of dimensions.
        """
        return torch.log_softmax(self.log_joint(z_BD), dim=-1)

    def kl(self, mu_BD: Tensor, log_var_BD: Tensor, log_gamma_BK: Tensor) -> Tensor:
        """Return KL( q(z) q(c) || p(z, c) ) in closed form, in nats, [B].

        Args:
            mu_BD: means of q(z) = N(mu, diag sigma^2).
            log_var_BD: log sigma^2.
            log_gamma_BK: log of q(c) = gamma.
        """
        gaussian_BD, component_B = self.kl_terms(mu_BD, log_var_BD, log_gamma_BK)
        return gaussian_BD.sum(-1) + component_B

    def kl_terms(self, mu_BD: Tensor, log_var_BD: Tensor, log_gamma_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Return the KL of `kl` in two terms, in nats.

        The first term, for each dimension j, [B, D]:
            1/2 sum_c gamma_c [ log s_cj^2 + sigma_j^2 / s_cj^2 + (mu_j - m_cj)^2 / s_cj^2 ] - 1/2 (1 + log sigma_j^2)
        The second term, [B]:
            sum_c gamma_c log gamma_c - sum_c gamma_c log pi_c
        """
        prior_log_var_KD = self.log_var_KD
        precision_KD = torch.exp(-prior_log_var_KD)
        gamma_BK = log_gamma_BK.exp()
        cross_BD = (
            gamma_BK @ (prior_log_var_KD + self.mean_KD.square() * precision_KD)
            + (mu_BD.square() + log_var_BD.exp()) * (gamma_BK @ precision_KD)
            - 2 * mu_BD * (gamma_BK @ (self.mean_KD * precision_KD))
        )
        component_B = (gamma_BK * (log_gamma_BK - self.log_weight_K)).sum(-1)
        return 0.5 * (cross_BD - 1 - log_var_BD), component_B

    @torch.no_grad()
    def set_components(self, weight_K: Tensor, mean_KD: Tensor, var_KD: Tensor) -> None:
        """Set the prior to a fitted mixture.

        Args:
            weight_K: mixture weights on the simplex.
            mean_KD: component means.
            var_KD: component variances.
        """
        self.logits_K.copy_(weight_K.clamp_min(1e-8).log())
        self.mean_KD.copy_(mean_KD)
        self.raw_log_var_KD.copy_(var_KD.clamp_min(1e-8).log().clamp_min(MIN_LOG_VAR))
