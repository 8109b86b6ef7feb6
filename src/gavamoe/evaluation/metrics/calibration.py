"""How well the predicted distribution over the rating levels agrees with the ratings that were given.

    rating NLL   mean over rows of -log p(true level), in nats
    rating ECE   sum over bins of |predicted probability - observed frequency| / (rows x levels)

The bins of the expected calibration error (Naeini et al. 2015) hold the probabilities of all levels, not only of the
most probable one: a rating model is used for its whole distribution.
"""

from __future__ import annotations

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric, mean_of, ratio
from gavamoe.evaluation.outputs import Outputs
from gavamoe.probability_bins import BINS, sums_by_bin

SMALLEST = 1e-12  # a probability of 0 would make the mean infinite


def negative_log_likelihoods(outputs: Outputs) -> np.ndarray | None:
    """Return -log p of each row's true level, [n, 1]; None without a predicted distribution."""
    if outputs.distribution is None or outputs.level is None:
        return None
    p_true = np.take_along_axis(outputs.distribution.astype(float), outputs.level[:, None].astype(int) - 1, axis=1)
    losses: np.ndarray = -np.log(np.maximum(p_true, SMALLEST))
    return losses


def calibration_excess(outputs: Outputs) -> np.ndarray | None:
    """Return predicted probability minus occurrence of each row by bin, then the number of levels, [n, BINS + 1]."""
    if outputs.distribution is None or outputs.level is None:
        return None
    p_NR = outputs.distribution.astype(float)
    rows, levels = p_NR.shape
    occurred_NR = np.arange(1, levels + 1) == outputs.level[:, None]
    return np.column_stack([sums_by_bin(p_NR, p_NR - occurred_NR), np.full(rows, levels)])


def expected_calibration_error(totals: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the distance of probabilities from frequencies over all bins, per row and level, [b]."""
    return ratio(np.abs(totals[:, :BINS]).sum(1), totals[:, BINS])


METRICS = (
    Metric(
        "rating NLL",
        False,
        "negative log-likelihood of the true rating, in nats",
        negative_log_likelihoods,
        mean_of(0),
        requires_reference=False,
    ),
    # A resample repeats rows, which adds to every distance; so the bootstrap has no valid interval.
    Metric(
        "rating ECE",
        False,
        "expected calibration error over all rating levels (Naeini et al. 2015)",
        calibration_excess,
        expected_calibration_error,
        requires_reference=False,
        bootstrap=False,
    ),
)
