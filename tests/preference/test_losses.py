"""The terms of the ELBO, the weights of the KL, and the validation of stage 1."""

import numpy as np
import pytest
import torch

from gavamoe.data.dataset import InteractionArrays
from gavamoe.preference.batches import Interactions
from gavamoe.preference.losses import KLWeights
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.validation import diagnose_collapse, validate


@pytest.fixture
def model() -> PreferenceModel:
    torch.manual_seed(0)
    return PreferenceModel(users=6, items=4, levels=5, clusters=3, latent=4, embedding=8, hidden=8).eval()


@pytest.fixture
def pairs() -> Interactions:
    rng = np.random.default_rng(0)
    return Interactions(InteractionArrays(rng.integers(1, 6, 40), rng.integers(1, 5, 40), rng.integers(1, 6, 40)))


def losses_at_mean(model, batch):
    mu, log_var = model.encoder(batch.user_B, batch.item_B)
    return model.losses_at(mu, mu, log_var, batch.level_B)


def test_the_kl_counts_once_per_user_and_item_in_an_epoch(model, pairs):
    batch = pairs.sample(100)
    losses = losses_at_mean(model, batch)
    total = KLWeights.from_interactions(pairs, model.users, model.items, model.device).weighted_kl(losses, batch).sum()
    by_hand = sum(losses.kl_user[batch.user_B == user].mean() for user in batch.user_B.unique())
    by_hand += sum(losses.kl_item[batch.item_B == item].mean() for item in batch.item_B.unique())
    torch.testing.assert_close(total, by_hand)


def test_user_and_item_terms_sum_to_the_mixture_kl(model, pairs):
    batch = pairs.sample(100)
    losses = losses_at_mean(model, batch)
    mu, log_var = model.encoder(batch.user_B, batch.item_B)
    whole = model.prior.kl(mu, log_var, model.prior.log_responsibilities(mu))
    torch.testing.assert_close(losses.kl_user + losses.kl_item, whole)


def test_every_review_counts_for_the_unknown_id(model, pairs):
    weights = KLWeights.from_interactions(pairs, model.users, model.items, model.device)
    assert weights.user_U[0] == weights.item_I[0] == pytest.approx(1 / len(pairs))


def test_validation_metrics_do_not_depend_on_the_chunk_size(model, pairs, monkeypatch):
    weights = KLWeights.from_interactions(pairs, model.users, model.items, model.device)
    whole = validate(model, pairs, weights)
    monkeypatch.setattr(Interactions, "chunks", lambda self: chunks_of_seven(self))
    assert validate(model, pairs, weights) == pytest.approx(whole, rel=1e-5)


def chunks_of_seven(pairs):
    for start in range(0, len(pairs), 7):
        yield Interactions(InteractionArrays(*(column[start : start + 7] for column in pairs.columns))).sample(7)


def test_validation_metrics_match_the_predicted_distribution(model, pairs):
    report, batch = (
        validate(model, pairs, KLWeights.from_interactions(pairs, model.users, model.items, model.device)),
        pairs.sample(100),
    )
    error = model.predict_rating(batch.user_B, batch.item_B) - 1 - batch.level_B
    chosen = model.rating_distribution(batch.user_B, batch.item_B)[torch.arange(len(batch)), batch.level_B]
    assert report["valid_rmse"] == pytest.approx(error.square().mean().sqrt().item(), rel=1e-5)
    assert report["valid_mae"] == pytest.approx(error.abs().mean().item(), rel=1e-5)
    assert report["valid_nll"] == pytest.approx(-chosen.log().mean().item(), rel=1e-5)


def test_calibration_error_is_low_for_true_probabilities_and_high_for_overconfident_ones(model):
    rng = np.random.default_rng(0)
    user, item = rng.integers(1, 7, 20_000), rng.integers(1, 5, 20_000)
    chance = model.rating_distribution(torch.from_numpy(user), torch.from_numpy(item))
    drawn = Interactions(InteractionArrays(user, item, torch.multinomial(chance, 1)[:, 0].numpy() + 1))
    weights = KLWeights.from_interactions(drawn, model.users, model.items, model.device)
    assert validate(model, drawn, weights)["valid_calibration"] < 0.01
    with torch.no_grad():
        model.decoder.linear.weight.zero_()
        model.decoder.product.weight.zero_()
        model.decoder.linear.bias.copy_(torch.tensor([9.0, 0, 0, 0, 0]))
    assert validate(model, drawn, weights)["valid_calibration"] > 0.1


@pytest.mark.parametrize(
    ("live", "nats", "clusters", "problem"),
    [
        (1, 3.0, 5, r"1 of 5 clusters holds 1% .* lower preference.beta or preference.clusters"),
        (5, 0.001, 5, r"the latent says nothing about its pair .* lower preference.beta"),
        (1, 3.0, 1, None),
        (4, 3.0, 5, None),
    ],
)
def test_a_collapsed_model_is_reported_with_the_setting_to_change(live, nats, clusters, problem):
    found = diagnose_collapse({"valid_latent_kl": nats}, {"live_clusters": live}, clusters)
    if problem is None:
        assert found is None
    else:
        import re

        assert found is not None
        assert re.search(problem, found)


def test_the_mixture_kl_is_computed_in_float32_under_bf16_autocast(model, pairs):
    batch = pairs.sample(100)
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.elbo_losses(batch.user_B, batch.item_B, batch.level_B, torch.zeros(len(batch), 4))
    full = model.elbo_losses(batch.user_B, batch.item_B, batch.level_B, torch.zeros(len(batch), 4))
    assert losses.kl_user.dtype == losses.kl_item.dtype == torch.float32
    torch.testing.assert_close(losses.kl_user, full.kl_user, rtol=0.05, atol=0.05)
    torch.testing.assert_close(losses.nll.float(), full.nll, rtol=0.05, atol=0.05)
