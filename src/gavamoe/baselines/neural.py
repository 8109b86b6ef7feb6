"""A text model as a system of the comparison: sized, trained, kept, and asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from gavamoe.baselines.base import Predictions, TrainingSummary
from gavamoe.baselines.batches import EncodedReviews
from gavamoe.baselines.data import TextData, Vocabulary
from gavamoe.baselines.generate import generate_texts
from gavamoe.baselines.sizes import matched_width
from gavamoe.baselines.text_model import TextModel
from gavamoe.baselines.trainer import train
from gavamoe.checkpoint import load_state, save_state
from gavamoe.conditions import Condition
from gavamoe.distributed import default_device
from gavamoe.language.decoding_config import DecodingConfig

WRITING_BATCH, RATING_BATCH = 256, 65_536
WEIGHTS, CHECKPOINT = "weights.safetensors", "checkpoint.safetensors"
Build = Callable[..., TextModel]  # of corpus, width, and what was prepared


class NeuralSystem:
    """A network that writes.

    Args:
        build: makes the network, untrained, of a corpus, a width and what `prepare` gave.
        takes: the facts of a condition it has a place for.
        on_base: whether it starts from the base model where there is one.
        parameters: how many it may have; the width is chosen for it. With a base model, that decides.
        prepare: what must be learned before, once, from corpus and seed.
    """

    def __init__(
        self,
        build: Build,
        inputs: frozenset[str],
        on_base: bool,
        parameters: int,
        prepare: Callable[[TextData, int], tuple[Any, ...]] = lambda data, seed: (),
    ):
        self.build, self.inputs, self.on_base, self.parameters = build, inputs, on_base, parameters
        self.prepare = prepare
        self.model: TextModel | None = None

    def fit(self, data: TextData, seed: int, directory: Path) -> TrainingSummary:
        """As `System.fit`."""
        started = time.perf_counter()
        model = self._begin(data, seed)
        before = time.perf_counter() - started
        checkpoint = directory / CHECKPOINT
        history = train(model, self._vocabulary, seed, directory.parent.name, checkpoint)
        save_state(directory / WEIGHTS, {name: tensor.detach().cpu() for name, tensor in model.kept()})
        checkpoint.unlink(missing_ok=True)
        last = history[-1]["phase"]
        return TrainingSummary(
            parameters=model.size(),
            seconds=before + sum(record["seconds"] for record in history),
            tokens=sum(record["tokens"] for record in history),
            epochs=len(history),
            valid_loss=min((r["valid_objective"], r["valid_text"]) for r in history if r["phase"] == last)[1],
            history=tuple(history),
        )

    def load(self, data: TextData, seed: int, directory: Path) -> None:
        """As `System.load`."""
        model = self._begin(data, seed)
        model.load_state_dict(load_state(directory / WEIGHTS), strict=False)

    def predict(self, pairs: pl.DataFrame, condition: Condition) -> Predictions:
        """As `System.predict`. A predicted rating in the input is the system's own, else `TextData.predicted_level`."""
        if self.model is None:
            raise ValueError("fit or load comes before predict")
        rated = self._rate(self.model, *(pairs[name].to_numpy().astype(np.int64) for name in ("user_id", "item_id")))
        rows = self._stated(pairs, rated, condition)
        texts: list[str] = []
        for start in range(0, len(pairs), WRITING_BATCH):
            chosen = np.arange(start, min(start + WRITING_BATCH, len(pairs)))
            batch = self._vocabulary.batch(rows, chosen).to(self._device)
            texts += generate_texts(self.model, self._vocabulary, batch, self._decoding, seed=0)
        return Predictions(texts, None if rated is None else self._corpus.scale.to_rating(rated))

    def _begin(self, data: TextData, seed: int) -> TextModel:
        self._corpus, self._device = data, torch.device(default_device())
        self._vocabulary: Vocabulary = data.of_base if self.on_base else data.own
        self._decoding = DecodingConfig.from_settings(data.config, self._vocabulary.tokenizer)
        prepared = self.prepare(data, seed)
        width = 0  # a base model has its own
        if not (self.on_base and data.base_model):
            width = matched_width(lambda w: self.build(data, w, *prepared), self.parameters, data.config.heads)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = self.build(data, width, *prepared).to(self._device)
        return self.model

    @torch.inference_mode()
    def _rate(self, model: TextModel, user_N: np.ndarray, item_N: np.ndarray) -> np.ndarray | None:
        """Predicted levels, within the scale; None from a model that predicts none."""
        model.eval()
        rated = []
        for start in range(0, max(len(user_N), 1), RATING_BATCH):
            user, item = (torch.from_numpy(ids[start : start + RATING_BATCH]) for ids in (user_N, item_N))
            level_B = model.rate(user.to(self._device), item.to(self._device))
            if level_B is None:
                return None
            rated.append(level_B.cpu().numpy())
        return np.clip(np.concatenate(rated), 1, self._corpus.levels)

    def _stated(self, pairs: pl.DataFrame, rated: np.ndarray | None, condition: Condition) -> EncodedReviews:
        """The pairs with the facts that the condition lets the system state; what it has no place for stays out."""
        user, item = (pairs[name].to_numpy().astype(np.int64) for name in ("user_id", "item_id"))
        level = np.zeros(len(pairs), dtype=np.int64)
        if "rating" in self.inputs and condition.rating == "given":
            level = pairs["level"].to_numpy().astype(np.int64)
        elif "rating" in self.inputs and condition.rating == "predicted":
            level = np.rint(self._corpus.predicted_level(user, item) if rated is None else rated).astype(np.int64)
        feature: list[str | None] = [None] * len(pairs)
        if "feature" in self.inputs and condition.feature == "given":
            feature = pairs["feature"].to_list()
        elif "feature" in self.inputs and condition.feature == "predicted":
            feature = self._corpus.feature_predictor.predict(user, item)
        return self._vocabulary.pairs(user, item, level, feature)
