"""Sums by bin of probability: the three computations that they replaced give the same numbers to the last bit."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gavamoe.evaluation import plots
from gavamoe.evaluation.metrics.calibration import calibration_excess
from gavamoe.evaluation.outputs import Outputs
from gavamoe.probability_bins import BINS, sums_by_bin

# Edges of bins are drawn often: there a bin depends on rounding.
PROBABILITIES = st.one_of(
    st.floats(0, 1, width=32), st.integers(0, BINS).map(lambda edge: float(np.float32(edge / BINS)))
)
PREDICTED = arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 5)), elements=PROBABILITIES)


def some_levels(p: np.ndarray) -> np.ndarray:
    """A level 1..R of each row, which the probabilities determine."""
    return 1 + (p.sum(1) * 997).astype(int) % p.shape[1]


@given(PREDICTED)
def test_the_sums_are_those_that_the_validation_of_stage_1_added_with_torch(p):
    p_BR, level_B = torch.from_numpy(p), torch.from_numpy(some_levels(p) - 1)
    bin_BR = (p_BR * BINS).long().clamp_max(BINS - 1).flatten()
    excess_BR = p_BR - torch.nn.functional.one_hot(level_B, p.shape[1])
    expected = torch.zeros(BINS, dtype=torch.float64).index_add_(0, bin_BR, excess_BR.flatten().double())
    np.testing.assert_array_equal(sums_by_bin(p.ravel(), excess_BR.numpy().ravel()), expected.numpy())


@given(PREDICTED)
def test_the_calibration_metric_adds_the_excess_of_each_row(p):
    level, (rows, levels) = some_levels(p), p.shape
    expected = np.zeros((rows, BINS + 1))
    bin_NR = np.minimum((p.astype(float) * BINS).astype(int), BINS - 1)
    occurred_NR = np.arange(1, levels + 1) == level[:, None]
    np.add.at(expected, (np.arange(rows)[:, None], bin_NR), p.astype(float) - occurred_NR)
    expected[:, BINS] = levels
    blank = [[]] * rows
    found = calibration_excess(Outputs(blank, blank, distribution=p, level=level))
    np.testing.assert_array_equal(found, expected)


def test_the_figure_has_the_mean_probability_and_the_frequency_of_each_bin():
    p, level = np.array([[0.25, 0.75], [0.25, 0.75], [1.0, 0.0]], np.float32), np.array([1, 2, 1])
    (axes,) = plots.reliability(p, level).axes
    predicted, observed = axes.lines[1].get_data()
    np.testing.assert_array_equal(predicted, [0, 0.25, 0.75, 1])
    np.testing.assert_array_equal(observed, [0, 0.5, 0.5, 1])


@given(PREDICTED)
def test_the_sums_are_those_that_the_figure_counted_by_bin(p):
    place = np.minimum((p * BINS).astype(int), BINS - 1).ravel()
    for values in (np.ones(p.shape), p, p > 0.5):
        expected = np.bincount(place, weights=values.ravel().astype(float), minlength=BINS)
        np.testing.assert_array_equal(sums_by_bin(p.ravel(), values.ravel()), expected)
        np.testing.assert_allclose(sums_by_bin(p, values).sum(0), expected)


def test_rows_without_probabilities_have_sums_of_0():
    assert sums_by_bin(np.zeros((0, 5)), np.zeros((0, 5))).shape == (0, BINS)
    assert not sums_by_bin(np.zeros((2, 0)), np.zeros((2, 0))).any()
