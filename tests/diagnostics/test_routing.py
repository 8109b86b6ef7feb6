"""Routing: pairs near a boundary, neighbours with other gates, matched gates of two trainings, jittered ratings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gavamoe.data.dataset import InteractionArrays
from gavamoe.diagnostics.routing import JITTER, boundary_figures, changed_share, jitter, neighbour_disagreement


def two_groups(count: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents of two distant groups of users, user ids, and the group of each pair."""
    rng = np.random.default_rng(0)
    user = np.arange(count) % 20
    group = user % 2
    return rng.normal(size=(count, 3)) * 0.1 + 5 * group[:, None], user, group


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.permutations(range(5)))
@settings(max_examples=60)
def test_renumbered_gates_are_the_same_gates(gates, numbers):
    gate = np.array(gates)
    assert changed_share(gate, np.array(numbers)[gate]) == 0


@given(st.data())
@settings(max_examples=60)
def test_the_changed_share_is_symmetric_and_at_most_one(data):
    size = data.draw(st.integers(1, 40))
    one, other = (np.array(data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))) for _ in range(2))
    share = changed_share(one, other)
    assert 0 <= share < 1
    assert share == pytest.approx(changed_share(other, one))


def test_one_pair_in_ten_with_another_gate_is_a_tenth():
    one = np.repeat([0, 1], 50)
    other = np.where(np.arange(100) % 10 == 0, 1 - one, one)
    assert changed_share(one, other) == pytest.approx(0.1)


def test_pairs_between_two_clusters_are_near_the_boundary():
    latent, user, group = two_groups()
    sure = np.where(group[:, None] == np.arange(2), 0.99, 0.01)
    assert boundary_figures(sure, latent, user, group, 0).near_boundary == 0
    unsure = np.where(np.arange(len(user))[:, None] < 50, [0.52, 0.48], sure)
    found = boundary_figures(unsure, latent, user, group, 0)
    assert found.near_boundary == pytest.approx(0.25)
    assert found.gap_deciles == sorted(found.gap_deciles)


def test_gates_by_group_agree_with_neighbours_and_random_gates_do_not():
    latent, user, group = two_groups(1000)
    assert neighbour_disagreement(latent, user, group, 0) == 0
    gates = np.random.default_rng(1).integers(0, 2, len(user))
    assert neighbour_disagreement(latent, user, gates, 0) == pytest.approx(1, abs=0.15)


def test_what_has_no_neighbours_or_one_gate_has_no_disagreement():
    latent, user, group = two_groups()
    assert neighbour_disagreement(latent, user, np.zeros(len(user), dtype=int), 0) is None
    assert neighbour_disagreement(latent, np.zeros(len(user), dtype=int), group, 0) is None
    assert boundary_figures(np.ones((5, 1)), latent[:5], user[:5], group[:5] * 0, 0) is None
    assert boundary_figures(np.zeros((0, 2)), latent[:0], user[:0], group[:0], 0) is None


@given(st.integers(2, 7), st.integers(0, 100))
@settings(max_examples=30)
def test_jitter_changes_about_a_tenth_and_keeps_levels_valid(levels, seed):
    rng = np.random.default_rng(seed)
    reviews = InteractionArrays(np.arange(2000), np.arange(2000), rng.integers(1, levels + 1, 2000))
    flipped = jitter(reviews, "flip", levels, seed)
    assert (flipped.user_id == reviews.user_id).all()
    assert flipped.level.min() >= 1
    assert flipped.level.max() <= levels
    assert (flipped.level != reviews.level).mean() == pytest.approx(JITTER, abs=0.03)
    dropped = jitter(reviews, "drop", levels, seed)
    assert len(dropped) == pytest.approx((1 - JITTER) * 2000, abs=60)
    assert (dropped.level == reviews.level[dropped.user_id]).all()
