"""A model of ratings as a system of the comparison: it rates, and writes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from gavamoe.baselines.base import Predictions, TrainingSummary
from gavamoe.baselines.data import TextData
from gavamoe.conditions import Condition
from gavamoe.data.dataset import InteractionArrays


class RatingModel(Protocol):
    """Learns levels 1..R of pairs of ids; id 0 is unknown."""

    def fit(self, train: InteractionArrays, valid: InteractionArrays) -> Any:
        """Learn."""

    def predict(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Expected level of each pair, float [N]."""


class RatingSystem:
    """Learned anew when it is loaded: that takes seconds, and gives the same.

    make: of users, items and seed, the model.
    """

    inputs: frozenset[str] = frozenset()

    def __init__(self, make: Callable[[int, int, int], RatingModel]):
        self.make = make

    def fit(self, data: TextData, seed: int, directory: Path) -> TrainingSummary:
        """As `System.fit`."""
        started = time.perf_counter()
        self.load(data, seed, directory)
        return TrainingSummary(int(getattr(self.model_, "parameters", 0)), time.perf_counter() - started)

    def load(self, data: TextData, seed: int, directory: Path) -> None:
        """As `System.load`."""
        self.scale_ = data.scale
        self.model_ = self.make(data.users, data.items, seed)
        self.model_.fit(data.dataset.arrays("train"), data.dataset.arrays("valid"))

    def predict(self, pairs: pl.DataFrame, condition: Condition) -> Predictions:
        """As `System.predict`."""
        user, item = (pairs[name].to_numpy().astype(np.int64) for name in ("user_id", "item_id"))
        return Predictions(None, self.scale_.to_rating(self.model_.predict(user, item)))
