"""A rating model as a system of the comparison: it predicts ratings and writes no texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import polars as pl

from gavamoe.baselines.base import Predictions, RefittedSystem
from gavamoe.baselines.data import TextData
from gavamoe.conditions import Condition
from gavamoe.data.dataset import InteractionArrays, id_arrays


class RatingModel(Protocol):
    """A model of the rating levels 1..R of pairs of ids; id 0 is an unknown user or item."""

    def fit(self, train: InteractionArrays, valid: InteractionArrays) -> Any:
        """Train; the validation reviews choose settings and stop training early."""

    def predict(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Return the expected level of each pair, float [N]."""


RatingModelFactory = Callable[[int, int, int], RatingModel]  # number of users, number of items, seed


class RatingSystem(RefittedSystem):
    """A rating model as a system; training takes seconds, so it is trained again when it is loaded.

    Args:
        create: makes the untrained model from the number of users, the number of items and the seed.
    """

    def __init__(self, create: RatingModelFactory):
        self.create = create

    @property
    def parameters(self) -> int:
        """Number of trained parameters; 0 if the model does not count them."""
        return int(getattr(self.model_, "parameters", 0))

    def train(self, data: TextData, seed: int) -> None:
        """Train the rating model on all reviews, with or without a text."""
        self.scale_ = data.scale
        self.model_ = self.create(data.users, data.items, seed)
        self.model_.fit(*data.interactions())

    def predict(self, pairs: pl.DataFrame, condition: Condition) -> Predictions:
        """Predict ratings alone, which depend on no condition."""
        return Predictions(None, self.scale_.to_rating(self.model_.predict(*id_arrays(pairs))))
