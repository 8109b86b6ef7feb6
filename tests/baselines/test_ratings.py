"""Baselines that predict ratings alone."""

import numpy as np
import pytest

from gavamoe.baselines.matrix_factorisation import MatrixFactorisation
from gavamoe.baselines.rating_mlp import MLPRatings
from gavamoe.data.dataset import InteractionArrays


@pytest.fixture(scope="module")
def tastes() -> tuple[InteractionArrays, InteractionArrays]:
    """Users and items of two kinds: what a pair is rated follows from neither alone."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(1, 61, 4000), rng.integers(1, 41, 4000)
    level = np.where(user % 2 == item % 2, 4, 2) + rng.integers(0, 2, 4000)
    return tuple(InteractionArrays(user[part], item[part], level[part]) for part in np.split(np.arange(4000), [3400]))


@pytest.mark.parametrize("kind", [MatrixFactorisation, pytest.param(MLPRatings, marks=pytest.mark.slow)])
def test_a_rating_model_learns_interactions_of_user_and_item(kind, tastes):
    if kind is MatrixFactorisation:
        pytest.importorskip("cornac", reason="the extra 'baselines' is not installed")
    train, valid = tastes
    predicted = kind(60, 40, seed=0).fit(train, valid).predict(valid.user_id, valid.item_id)
    error = np.sqrt(np.mean((predicted - valid.level) ** 2))
    assert error < 0.7  # 0.5 is the noise, 1.12 what biases leave


@pytest.mark.parametrize("kind", [MatrixFactorisation, pytest.param(MLPRatings, marks=pytest.mark.slow)])
def test_an_unknown_pair_gets_a_rating_near_the_mean(kind, tastes):
    if kind is MatrixFactorisation:
        pytest.importorskip("cornac", reason="the extra 'baselines' is not installed")
    train, valid = tastes
    model = kind(60, 40, seed=0).fit(train, valid)
    unknown = np.zeros(1, dtype=np.int64)
    assert model.predict(unknown, unknown)[0] == pytest.approx(train.level.mean(), abs=0.5)
    assert model.parameters > 0


def test_matrix_factorisation_does_not_train_on_unknown_users(tastes):
    pytest.importorskip("cornac", reason="the extra 'baselines' is not installed")
    train, valid = tastes
    unknown = np.zeros(500, dtype=np.int64)
    flooded = InteractionArrays(
        np.concatenate([train.user_id, unknown]),
        np.concatenate([train.item_id, unknown + 1]),
        np.concatenate([train.level, unknown + 1]),
    )
    with_unknown, without = (MatrixFactorisation(60, 40).fit(arrays, valid) for arrays in (flooded, train))
    pairs = valid.user_id, valid.item_id
    assert np.array_equal(with_unknown.predict(*pairs), without.predict(*pairs))


def test_matrix_factorisation_of_unknown_users_alone_predicts_the_mean(tastes):
    pytest.importorskip("cornac", reason="the extra 'baselines' is not installed")
    nobody = InteractionArrays(np.zeros(4, dtype=np.int64), np.arange(1, 5), np.array([1, 2, 4, 5]))
    model = MatrixFactorisation(60, 40).fit(nobody, tastes[1])
    assert model.predict(np.array([0, 3]), np.array([1, 2])).tolist() == [3, 3]
