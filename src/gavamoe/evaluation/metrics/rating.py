"""How far predicted ratings are from the true ones, on the scale of the source."""

from __future__ import annotations

import numpy as np


def rating_errors(predicted: np.ndarray, true: np.ndarray, low: float, high: float) -> dict[str, float]:
    """RMSE and MAE after predictions are clipped to the scale [low, high]."""
    error = np.clip(np.asarray(predicted, dtype=np.float64), low, high) - np.asarray(true, dtype=np.float64)
    return {"RMSE": float(np.sqrt(np.mean(error**2))), "MAE": float(np.mean(np.abs(error)))}
