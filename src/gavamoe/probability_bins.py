"""Ten bins of probability, of equal width: what calibration errors and the calibration figure sum over.

    bin            0         1        ...        9
    probability    0 .. .1   .1 .. .2            .9 .. 1, with 1

Validation of stage 1, the metric `rating ECE` and the report's figure use these bins. Shape legend: B bins.
"""

from __future__ import annotations

import math

import numpy as np

BINS = 10


def sums_by_bin(p: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum the values of the probabilities in each bin, over the last axis, in double precision.

    Args:
        p: probabilities, [..., m]. The bin of one at an edge depends on rounding in its own precision.
            The first bin has those that are not a number.
        values: a value of each probability, [..., m].

    Returns:
        Sums, [..., B].
    """
    rows = math.prod(p.shape[:-1])
    bin_of = np.minimum(np.nan_to_num(p * BINS).astype(int), BINS - 1).reshape(rows, p.shape[-1])
    place = bin_of + BINS * np.arange(rows)[:, None]
    sums = np.bincount(place.ravel(), weights=values.ravel(), minlength=rows * BINS)
    return sums.reshape(*p.shape[:-1], BINS)
