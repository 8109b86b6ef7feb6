"""The one interface of every system in a comparison: learn from a corpus, then write and rate pairs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from gavamoe.baselines.data import TextData
from gavamoe.conditions import Condition


@dataclass(frozen=True)
class Predictions:
    """What a system says of N pairs: texts, and ratings [N] on the scale of the source; None where it has none."""

    texts: list[str] | None
    ratings: np.ndarray | None


@dataclass(frozen=True)
class TrainingSummary:
    """What a system's training took.

    Args:
        parameters: of the whole system; where it starts from a base model, those of the base are among them.
        seconds: of training and validation.
        tokens: scored tokens that it was trained on, each time they were seen; 0 for a system without texts.
        epochs: passes over the training reviews, all phases together.
        valid_loss: of the texts, nats a token, of the weights that were kept; None for a system without texts.
        history: a record an epoch.
    """

    parameters: int
    seconds: float
    tokens: int = 0
    epochs: int = 0
    valid_loss: float | None = None
    history: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


class System(Protocol):
    """A system of a comparison; `fit` or `load` comes before `predict`."""

    inputs: frozenset[str]
    """Which facts of a condition ("rating", "feature") can enter its input at all."""

    def fit(self, data: TextData, seed: int, directory: Path) -> TrainingSummary:
        """Learn, and leave in `directory` what `load` needs; go on with an interrupted training that lies there."""

    def load(self, data: TextData, seed: int, directory: Path) -> None:
        """Come back as `fit` left it."""

    def predict(self, pairs: pl.DataFrame, condition: Condition) -> Predictions:
        """Rows with user, item, user_id, item_id (0 unknown), and level, feature for a condition that gives them."""
