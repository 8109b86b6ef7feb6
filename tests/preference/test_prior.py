"""The mathematics of the mixture prior."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gavamoe.preference.prior import MixturePrior


def a_prior(clusters: int, latent: int) -> MixturePrior:
    prior = MixturePrior(clusters, latent)
    with torch.no_grad():
        prior.logits_K.copy_(torch.randn(clusters))
        prior.raw_log_var_KD.copy_(0.5 * torch.randn(clusters, latent))
    return prior


def test_the_closed_form_kl_agrees_with_monte_carlo():
    torch.manual_seed(0)
    prior, mu, log_var = a_prior(3, 4), torch.randn(1, 4), torch.full((1, 4), -0.5)
    gamma = torch.tensor([[0.2, 0.5, 0.3]])
    closed = prior.kl(mu, log_var, gamma.log()).item()
    z = mu + (0.5 * log_var).exp() * torch.randn(400_000, 4)
    log_q = torch.distributions.Normal(mu, (0.5 * log_var).exp()).log_prob(z).sum(-1)
    log_joint = prior.log_joint(z)
    sampled = (log_q[:, None] + gamma.log() - log_joint) * gamma
    assert closed == pytest.approx(sampled.sum(-1).mean().item(), abs=0.02)


def test_the_kl_with_one_component_is_the_gaussian_kl():
    prior = MixturePrior(1, 1)
    with torch.no_grad():
        prior.mean_KD.fill_(1.0)
        prior.raw_log_var_KD.fill_(math.log(4.0))
    value = prior.kl(torch.tensor([[3.0]]), torch.tensor([[0.0]]), torch.zeros(1, 1)).item()
    assert value == pytest.approx(0.5 * (math.log(4.0) + 1 / 4 + 4 / 4 - 1), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(1, 64), st.floats(0.1, 1e4))
def test_responsibilities_sum_to_one_at_any_scale(clusters, latent, scale):
    torch.manual_seed(clusters)
    gamma = a_prior(clusters, latent).log_responsibilities(scale * torch.randn(5, latent)).exp()
    assert torch.isfinite(gamma).all()
    torch.testing.assert_close(gamma.sum(-1), torch.ones(5), atol=1e-4, rtol=0)


def test_the_kl_is_never_negative():
    torch.manual_seed(1)
    prior, mu, log_var = a_prior(4, 6), torch.randn(200, 6), torch.randn(200, 6)
    assert prior.kl(mu, log_var, torch.randn(200, 4).log_softmax(-1)).min() >= 0
