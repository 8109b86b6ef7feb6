"""Statistics of drift: the stability index and its null, loss ratios, users whose taste moved, and the onset."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gavamoe.diagnostics.drift import (
    RULES,
    check_cold_share,
    check_moved_users,
    check_ratio,
    check_shift,
    onset,
    population_stability_index,
)
from gavamoe.preference.model import PreferenceModel

counts = arrays.arrays(float, 4, elements=st.floats(1, 1000))


@given(counts, counts)
def test_the_stability_index_is_symmetric_not_negative_and_zero_for_equal_shares(own, newer):
    value = population_stability_index(own, newer)
    assert value >= 0
    assert value == pytest.approx(population_stability_index(newer, own))
    assert population_stability_index(own, 3 * own) == pytest.approx(0, abs=1e-9)


def categories(rng, rows, shares, users, sticky):
    """Draw a category per row; a user of `sticky` rows has the same one in all of them."""
    user = rng.integers(1, users + 1, rows)
    of_user = rng.choice(len(shares), users + 1, p=shares)
    each = rng.choice(len(shares), rows, p=shares)
    return np.eye(len(shares))[of_user[user] if sticky else each], user


@pytest.mark.parametrize("sticky", [False, True])
@pytest.mark.parametrize("own_rows", [600, 25])  # a small validation split has few rows of each user
def test_samples_without_shift_rarely_exceed_the_null_even_if_rows_of_a_user_are_alike(sticky, own_rows):
    flagged = 0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        own, own_user = categories(rng, own_rows, [0.5, 0.3, 0.15, 0.05], 30, sticky)
        newer, newer_user = categories(rng, 300, [0.5, 0.3, 0.15, 0.05], 30, sticky)
        flagged += check_shift("rating_distribution", own, newer, own_user, newer_user).status != "pass"
    assert flagged <= 3


def test_a_shift_fails_and_its_null_is_below_it():
    rng = np.random.default_rng(0)
    own, own_user = categories(rng, 600, [0.6, 0.3, 0.1], 100, False)
    newer, newer_user = categories(rng, 300, [0.2, 0.3, 0.5], 100, False)
    check = check_shift("rating_distribution", own, newer, own_user, newer_user)
    assert check.status == "fail"
    assert check.interval[1] < check.value
    assert check.advice == RULES["rating_distribution"].advice


@pytest.mark.parametrize(("factor", "status"), [(0.9, "pass"), (1.0, "pass"), (1.1, "warn"), (1.4, "fail")])
def test_a_loss_warns_and_fails_by_how_much_it_rises(factor, status):
    rng = np.random.default_rng(0)
    loss, user = rng.gamma(20, 0.05, 4000), rng.integers(1, 400, 4000)
    check = check_ratio("rating_loss", factor * loss, user, loss, user, float(loss.mean()))
    assert check.status == status
    assert check.value == pytest.approx(factor)
    assert (check.advice == "") == (status == "pass")


def test_a_rise_that_few_users_may_explain_passes():
    loss, user = np.array([0.5, 0.6, 3.0]), np.array([1, 2, 3])
    check = check_ratio("rating_loss", loss, user, None, None, 1.0)
    assert check.value > RULES["rating_loss"].fail
    assert check.status == "pass"
    assert check.interval[0] < 1


@pytest.mark.parametrize(("cold", "own", "status"), [(0.05, 0.0, "pass"), (0.2, 0.0, "warn"), (0.5, 0.1, "fail")])
def test_cold_rows_count_above_the_share_of_the_own_data(cold, own, status):
    is_cold = np.arange(100) < 100 * cold
    assert check_cold_share("cold_users", is_cold, own).status == status


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], None), ([1, 1], None), ([1, 2], "b"), ([2, 2], "a"), ([2, 1, 2, 2], "c"), ([2, 2, 1], None)],
)
def test_the_onset_is_where_every_later_window_is_above_the_limit(values, expected):
    assert onset("abcd"[: len(values)], values, 1.5) == expected


def test_too_few_users_with_enough_ratings_are_no_verdict():
    model = PreferenceModel(5, 5, 5, clusters=2, latent=4, embedding=4, hidden=8)
    ratings = np.stack([np.repeat(np.arange(1, 6), 5), np.tile(np.arange(1, 6), 5), np.full(25, 3)], axis=1)
    check = check_moved_users(model, ratings, ratings)
    assert (check.status, check.value) == ("skipped", None)
    assert "5 users" in check.advice
