"""LightGCN averages powers of the normalised adjacency, and has no other weights."""

import numpy as np
import pytest
import torch

from gavamoe.baselines.lightgcn import LightGCN, LightGCNRatings, fit, normalised_adjacency
from gavamoe.data.dataset import InteractionArrays

USER, ITEM = np.array([1, 1, 2, 2]), np.array([1, 2, 2, 2])  # the last pair twice: one edge


def test_the_adjacency_is_normalised_on_both_sides_and_excludes_the_unknown():
    dense = normalised_adjacency(3, 3, np.append(USER, [0, 1]), np.append(ITEM, [1, 0])).to_dense()
    expected = torch.zeros(6, 6)
    for user, item, degrees in ((1, 1, 2 * 1), (1, 2, 2 * 2), (2, 2, 1 * 2)):
        expected[user, 3 + item] = expected[3 + item, user] = degrees**-0.5
    assert torch.allclose(dense, expected)


def test_propagation_is_the_mean_of_powers_of_the_adjacency():
    model = LightGCN(2, 2, USER, ITEM, width=4, layers=3)
    adjacency = model.adjacency_NN.to_dense()
    start = model.vectors.weight
    by_hand = sum(torch.linalg.matrix_power(adjacency, power) @ start for power in range(4)) / 4
    assert torch.allclose(torch.cat(model.propagate()), by_hand, atol=1e-6)


@pytest.fixture(scope="module")
def world():
    """Ratings that follow from biases and one taste."""
    rng = np.random.default_rng(0)
    taste_u, taste_i, bias = rng.normal(size=31), rng.normal(size=41), rng.normal(size=41)
    user, item = rng.integers(1, 31, 3000), rng.integers(1, 41, 3000)
    level = np.clip(np.rint(3 + bias[item] + taste_u[user] * taste_i[item]), 1, 5).astype(np.int64)
    arrays = [InteractionArrays(user[part], item[part], level[part]) for part in np.split(np.arange(3000), [2400])]
    return arrays


def test_ratings_are_better_than_the_mean_and_reproducible(world):
    train, valid = world
    predicted = LightGCNRatings(30, 40).fit(train, valid).predict(valid.user_id, valid.item_id)
    error = np.sqrt(np.mean((predicted - valid.level) ** 2))
    assert error < 0.8 * valid.level.std()
    again = LightGCNRatings(30, 40).fit(train, valid).predict(valid.user_id, valid.item_id)
    assert np.array_equal(predicted, again)


def test_ranking_scores_reviewed_items_higher_than_others(world):
    rng = np.random.default_rng(1)
    user = np.repeat(np.arange(1, 31), 12)
    item = np.where(user % 2, rng.integers(1, 21, len(user)), rng.integers(21, 41, len(user)))  # two camps
    arrays = InteractionArrays(user, item, np.full(len(user), 3))
    users, items = fit(arrays, arrays, 30, 40, "ranking", seed=0).propagate()
    own, other = (items[1:21] if camp else items[21:] for camp in (1, 0))
    scores = users[1::2]
    assert (scores @ own.T).mean() > (scores @ other.T).mean() + 0.5


def test_negative_items_are_not_reviewed_by_the_user():
    user, item = np.array([1, 1, 1, 2]), np.array([1, 2, 4, 3])
    drawn = LightGCN(2, 5, user, item).unreviewed(torch.tensor([1, 2]).repeat(500)).view(500, 2)
    assert set(drawn[:, 0].tolist()) == {3, 5}
    assert set(drawn[:, 1].tolist()) == {1, 2, 4, 5}


def test_a_user_of_all_items_still_gets_a_negative_item():
    assert LightGCN(1, 2, np.array([1, 1]), np.array([1, 2])).unreviewed(torch.ones(9, dtype=torch.long)).min() >= 1
