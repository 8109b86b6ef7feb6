"""Initialisation from the truncated SVD of the ratings."""

import numpy as np
import pytest
import torch

from gavamoe.preference.batches import Batch
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.svd_init import HELD_OUT_SHARE, factorise, init_from_svd

USERS, ITEMS = 150, 60


def two_groups(seed: int = 0, count: int = 6000) -> Batch:
    """Users and items of two groups; levels 0..4, high where both groups match."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(1, USERS + 1, count), rng.integers(1, ITEMS + 1, count)
    match = (user % 2) == (item % 2)
    level = np.clip(np.round(np.where(match, 3.2, 0.8) + 0.5 * rng.standard_normal(count)), 0, 4).astype(np.int64)
    return Batch(*map(torch.from_numpy, (user, item, level)))


def a_model() -> PreferenceModel:
    torch.manual_seed(0)
    return PreferenceModel(USERS, ITEMS, 5, clusters=2, latent=8, embedding=8, hidden=16).eval()


def test_an_initialised_model_predicts_what_the_factors_predict():
    reviews, model = two_groups(), a_model()
    init_from_svd(model, reviews, seed=0)
    factors = factorise(reviews, USERS + 1, ITEMS + 1, count=3, seed=0)
    user, item = reviews.user_B.numpy(), reviews.item_B.numpy()
    factored = factors.bias_U[user] + factors.bias_I[item] + (factors.user_UF[user] * factors.item_IF[item]).sum(1)
    predicted = model.predict_rating(reviews.user_B, reviews.item_B).numpy()
    assert np.corrcoef(factored, predicted)[0, 1] > 0.97


def test_an_initialised_model_predicts_the_interaction_of_user_and_item():
    fresh, model = two_groups(seed=1), a_model()
    init_from_svd(model, two_groups(seed=0), seed=0)
    error = model.predict_rating(fresh.user_B, fresh.item_B) - 1 - fresh.level_B
    spread = (fresh.level_B - fresh.level_B.float().mean()).square().mean().sqrt()
    assert error.square().mean().sqrt() < 0.6 * spread


def test_factors_of_noise_get_almost_no_weight():
    rng = np.random.default_rng(0)
    columns = rng.integers(1, USERS + 1, 4000), rng.integers(1, ITEMS + 1, 4000), rng.integers(0, 5, 4000)
    factors = factorise(Batch(*map(torch.from_numpy, columns)), USERS + 1, ITEMS + 1, count=6, seed=0)
    assert (factors.user_UF * factors.user_UF).sum(1).mean() < 0.1


def test_an_id_without_reviews_and_the_unknown_id_start_at_the_shared_embedding():
    reviews, model = two_groups(), a_model()
    others = reviews.user_B != 7
    init_from_svd(model, Batch(reviews.user_B[others], reviews.item_B[others], reviews.level_B[others]), seed=0)
    offsets = model.encoder.user.offset.weight
    assert (offsets[0] == 0).all()
    assert offsets[7].abs().max() < offsets[8].abs().max()


def test_fewer_ids_than_factors_is_no_error():
    model = PreferenceModel(users=2, items=1, levels=5, clusters=1, latent=8, embedding=8, hidden=8)
    init_from_svd(model, Batch(torch.tensor([1, 2, 2]), torch.tensor([1, 1, 1]), torch.tensor([0, 4, 3])), seed=0)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


@pytest.mark.parametrize("seed", range(12))
def test_without_a_held_out_review_no_factor_has_weight(seed):
    rng = np.random.default_rng(seed)
    columns = rng.integers(1, 5, 6), rng.integers(1, 5, 6), rng.integers(0, 5, 6)
    factors = factorise(Batch(*map(torch.from_numpy, columns)), 6, 6, count=3, seed=seed)
    assert np.isfinite(factors.user_UF).all()
    if not (np.random.default_rng(seed).random(6) < HELD_OUT_SHARE).any():
        assert (factors.user_UF == 0).all()
