"""The interface of every system in a comparison: fit on the training reviews, then predict texts and ratings of pairs.

    System           the protocol: inputs, fit, load, predict
    RefittedSystem   a base class for systems that train in seconds and save nothing; write `train` and `predict`

A system of your own needs no more than this module: see examples/own_baseline.py.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from gavamoe.baselines.data import TextData
from gavamoe.conditions import Condition

SUMMARY = "training.json"  # the file in which a comparison keeps a system's TrainingSummary


@dataclass(frozen=True)
class Predictions:
    """Predictions of a system for N pairs.

    Args:
        texts: one explanation a pair; None from a system that writes none.
        ratings: float [N] on the scale of the source; None from a system that predicts none.
    """

    texts: list[str] | None
    ratings: np.ndarray | None


@dataclass(frozen=True)
class TrainingSummary:
    """The cost and the result of training a system.

    Args:
        parameters: of the whole system, including those of a base model that it starts from.
        seconds: of training and validation.
        tokens: text tokens scored in training, counted again in every epoch; 0 for a system without texts.
        epochs: passes over the training reviews, summed over all phases.
        valid_loss: cross-entropy of the validation texts under the saved weights, in nats per token; None for a system
            without texts.
        history: one record per epoch.
    """

    parameters: int
    seconds: float
    tokens: int = 0
    epochs: int = 0
    valid_loss: float | None = None
    history: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        return asdict(self)

    @classmethod
    def load(cls, directory: Path) -> TrainingSummary:
        """Read the summary of a trained system from its directory."""
        return cls(**json.loads((directory / SUMMARY).read_text(encoding="utf-8")))


class System(Protocol):
    """A system of a comparison; call `fit` or `load` before `predict`."""

    inputs: frozenset[str]
    """The fields of a `Condition` ("rating", "feature") that the system can use as input."""

    def fit(self, data: TextData, seed: int, directory: Path) -> TrainingSummary:
        """Train on `data` and save into `directory` what `load` needs.

        An interrupted training whose state is in `directory` is resumed.
        """

    def load(self, data: TextData, seed: int, directory: Path) -> None:
        """Restore the system that `fit` saved with the same arguments."""

    def predict(self, pairs: pl.DataFrame, condition: Condition) -> Predictions:
        """Predict a text and a rating for every row of `pairs`.

        Args:
            pairs: rows with user, item, user_id and item_id (0 when unknown). A condition with a given rating or
                feature needs the columns level or feature.
            condition: which facts about the pair the system may use.
        """


class RefittedSystem(ABC):
    """A `System` that trains in seconds: it saves nothing, and `load` trains it again with the same seed.

    A subclass implements `train` and `predict`. By default it uses no field of the condition.
    """

    inputs: frozenset[str] = frozenset()

    @property
    def parameters(self) -> int:
        """Number of trained parameters, for the table of training costs."""
        return 0

    @abstractmethod
    def train(self, data: TextData, seed: int) -> None:
        """Train on `data`; the result must depend on nothing but the data and the seed."""

    @abstractmethod
    def predict(self, pairs: pl.DataFrame, condition: Condition) -> Predictions:
        """Predict a text and a rating for every row of `pairs`; see `System.predict`."""

    def fit(self, data: TextData, seed: int, directory: Path) -> TrainingSummary:
        """Train, and return how long training took; nothing is written into `directory`."""
        started = time.perf_counter()
        self.train(data, seed)
        return TrainingSummary(self.parameters, time.perf_counter() - started)

    def load(self, data: TextData, seed: int, directory: Path) -> None:
        """Train again, because `fit` saved nothing."""
        self.train(data, seed)
