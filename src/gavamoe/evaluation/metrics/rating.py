"""RMSE and MAE of predicted ratings, in units of the source's scale, over the rows where both ratings are known."""

from __future__ import annotations

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric, ratio
from gavamoe.evaluation.outputs import Outputs

SOURCE = "predictions clipped to the scale first, as PETER and PEPLER do"


def rating_errors(outputs: Outputs) -> np.ndarray | None:
    """Return the errors of the predicted ratings after clipping to the scale.

    Returns:
        Squared error, absolute error, and whether both ratings are known, [n, 3]; None without ratings.
    """
    if outputs.predicted is None or outputs.true is None:
        return None
    predicted, true = (np.array(ratings, dtype=float) for ratings in (outputs.predicted, outputs.true))
    error = (np.clip(predicted, *outputs.scale) if outputs.scale else predicted) - true
    known = np.isfinite(error)
    error = np.where(known, error, 0)
    return np.stack([error**2, np.abs(error), known], axis=1)


def root_mean_squared_error(totals: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return sqrt(sum of squared errors / rows with both ratings), [b]."""
    rmse: np.ndarray = np.sqrt(ratio(totals[:, 0], totals[:, 2]))
    return rmse


def mean_absolute_error(totals: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the sum of absolute errors / rows with both ratings, [b]."""
    return ratio(totals[:, 1], totals[:, 2])


METRICS = (
    Metric("RMSE", False, SOURCE, rating_errors, root_mean_squared_error, requires_reference=False),
    Metric("MAE", False, SOURCE, rating_errors, mean_absolute_error, requires_reference=False),
)
