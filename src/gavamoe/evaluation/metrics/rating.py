"""How far predicted ratings are from the true ones, in units of the source's scale."""

from __future__ import annotations

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric, ratio
from gavamoe.evaluation.outputs import Outputs

SOURCE = "predictions clipped to the scale first, as PETER and PEPLER do"


def rating_errors(outputs: Outputs) -> np.ndarray | None:
    """Squared error, absolute error, and whether both ratings are known: [n, 3]."""
    if outputs.predicted is None or outputs.true is None:
        return None
    predicted, true = (np.array(ratings, dtype=float) for ratings in (outputs.predicted, outputs.true))
    error = (np.clip(predicted, *outputs.scale) if outputs.scale else predicted) - true
    known = np.isfinite(error)
    error = np.where(known, error, 0)
    return np.stack([error**2, np.abs(error), known], axis=1)


def root_mean_square(totals: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """RMSE over the rows whose ratings are known."""
    return np.sqrt(ratio(totals[:, 0], totals[:, 2]))


def mean_absolute(totals: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """MAE over the rows whose ratings are known."""
    return ratio(totals[:, 1], totals[:, 2])


METRICS = (
    Metric("RMSE", False, SOURCE, rating_errors, root_mean_square, of_texts=False),
    Metric("MAE", False, SOURCE, rating_errors, mean_absolute, of_texts=False),
)
