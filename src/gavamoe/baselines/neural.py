"""A network that writes texts, as a system of the comparison.

build      choose the width that matches GaVaMoE's number of parameters, then make the network
fit        train it and save its weights
predict    rate the pairs, encode what the condition allows as input, decode the texts
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from gavamoe.baselines.base import SUMMARY, Predictions, TrainingSummary
from gavamoe.baselines.data import EncodedReviews, TextData, Vocabulary
from gavamoe.baselines.generate import generate_texts
from gavamoe.baselines.rating_system import RatingModelFactory
from gavamoe.baselines.text_model import TextModel
from gavamoe.baselines.trainer import train
from gavamoe.checkpoint import check_finite, load_state, save_state
from gavamoe.conditions import Condition
from gavamoe.data.dataset import id_arrays
from gavamoe.distributed import default_device
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.language.mbr import ReferenceEncoder, ReferenceSentences, reference_encoder
from gavamoe.language.rarity import RARITY_SENTENCES, Rarity

DECODING_BATCH, RATING_BATCH = 256, 65_536
MAX_WIDTH = 8192
WEIGHTS, CHECKPOINT = "weights.safetensors", "checkpoint.safetensors"
ModelFactory = Callable[..., TextModel]  # of data, width, and what `prepare` returned


class NeuralSystem:
    """A `TextModel` as a system.

    Args:
        create: makes the untrained network from the data, a width and what `prepare` returned.
        inputs: the fields of a condition that the network can use as input.
        uses_base_model: whether it starts from the base model if there is one.
        parameters: how many parameters a network from scratch should have; its width is chosen accordingly.
        prepare: trains from data and seed what the network needs before it is made, such as graph embeddings.
        rating_model: predicts the rating for the input of a network that predicts none itself.
        references: returns from the data what looks up sentences that drafts are compared with; None compares drafts
            alone.
        reuse_weights_from: directory name of a system of the same comparison that trains the same network; where it is
            trained, its weights are copied.
    """

    def __init__(
        self,
        create: ModelFactory,
        inputs: frozenset[str],
        uses_base_model: bool,
        parameters: int,
        prepare: Callable[[TextData, int], tuple[Any, ...]] = lambda data, seed: (),
        rating_model: RatingModelFactory | None = None,
        references: Callable[[TextData], ReferenceSentences] | None = None,
        reuse_weights_from: str | None = None,
    ):
        self.create, self.inputs, self.uses_base_model, self.parameters = create, inputs, uses_base_model, parameters
        self.prepare, self.rating_model, self.references = prepare, rating_model, references
        self.reuse_weights_from = reuse_weights_from
        self.model: TextModel | None = None
        self._input_levels: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
        # Both are made once: the first keeps what it has encoded.
        self._encode_references: ReferenceEncoder | None = None
        self._rarity: Rarity | None = None

    def fit(self, data: TextData, seed: int, directory: Path) -> TrainingSummary:
        """Train the network, resume where a checkpoint is in `directory`, and save the weights there."""
        if self.reuse_weights_from is not None:
            trained = directory.parents[1] / self.reuse_weights_from / directory.name
            if (trained / SUMMARY).is_file():
                shutil.copyfile(trained / WEIGHTS, directory / WEIGHTS)
                self.load(data, seed, directory)
                return TrainingSummary.load(trained)
        started = time.perf_counter()
        model = self._build(data, seed)
        before = time.perf_counter() - started
        checkpoint = directory / CHECKPOINT
        history = train(model, self._vocabulary, seed, directory.parent.name, checkpoint)
        save_state(directory / WEIGHTS, {name: tensor.detach().cpu() for name, tensor in model.saved_tensors()})
        checkpoint.unlink(missing_ok=True)
        last = history[-1]["phase"]
        return TrainingSummary(
            parameters=model.num_parameters(),
            seconds=before + sum(record["seconds"] for record in history),
            tokens=sum(record["tokens"] for record in history),
            epochs=len(history),
            valid_loss=min((r["valid_objective"], r["valid_text"]) for r in history if r["phase"] == last)[1],
            history=tuple(history),
        )

    def load(self, data: TextData, seed: int, directory: Path) -> None:
        """Make the network and read its weights from `directory`."""
        model = self._build(data, seed)
        weights = load_state(directory / WEIGHTS)
        check_finite(weights.items(), directory / WEIGHTS)
        model.load_state_dict(weights, strict=False)

    def predict(self, pairs: pl.DataFrame, condition: Condition) -> Predictions:
        """Predict ratings, where the network does, and write a text for each pair.

        The condition rating=predicted puts the network's own rating into its input. A network that predicts none gets
        the rating of `rating_model`.
        """
        if self.model is None:
            raise ValueError("fit or load comes before predict")
        levels = self._predict_levels(self.model, *id_arrays(pairs))
        encoded = self._encode(pairs, levels, condition)
        if self._encode_references is None:
            sentences = None if self.references is None else self.references(self._data)
            self._encode_references = reference_encoder(self._vocabulary.tokenizer, self._decoding, sentences)
            self._rarity = self._training_rarity() if self._decoding.mbr_content_words else None
        texts: list[str] = []
        for start in range(0, len(pairs), DECODING_BATCH):
            chosen = np.arange(start, min(start + DECODING_BATCH, len(pairs)))
            batch = self._vocabulary.batch(encoded, chosen).to(self._device)
            texts += generate_texts(
                self.model, self._vocabulary, batch, self._decoding, 0, self._encode_references, self._rarity
            )
        return Predictions(texts, None if levels is None else self._data.scale.to_rating(levels))

    def _build(self, data: TextData, seed: int) -> TextModel:
        """Make the untrained network; its weights depend on the seed alone."""
        self._data, self._device = data, torch.device(default_device())
        self._input_levels = self._encode_references = self._rarity = None
        self._vocabulary: Vocabulary = data.base_vocabulary if self.uses_base_model else data.corpus_vocabulary
        self._decoding = DecodingConfig.from_settings(data.config, self._vocabulary.tokenizer)
        prepared = self.prepare(data, seed)
        width = 0  # a base model has its own
        if not (self.uses_base_model and data.base_model):
            width = matched_width(lambda w: self.create(data, w, *prepared), self.parameters, data.config.heads)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = self.create(data, width, *prepared).to(self._device)
        return self.model

    def _training_rarity(self) -> Rarity:
        """Return how rare tokens are in training texts that are spread evenly."""
        texts = self._vocabulary.train.texts
        return Rarity.fit(ids[:-1] for ids in texts[:: max(1, len(texts) // RARITY_SENTENCES)])

    @torch.inference_mode()
    def _predict_levels(self, model: TextModel, user_N: np.ndarray, item_N: np.ndarray) -> np.ndarray | None:
        """Return the network's predicted levels [N], clipped to 1..R; None if it predicts none."""
        model.eval()
        levels = []
        for start in range(0, max(len(user_N), 1), RATING_BATCH):
            user, item = (torch.from_numpy(ids[start : start + RATING_BATCH]) for ids in (user_N, item_N))
            level_B = model.rate(user.to(self._device), item.to(self._device))
            if level_B is None:
                return None
            levels.append(level_B.cpu().numpy())
        return np.clip(np.concatenate(levels), 1, self._data.levels)

    def _encode(self, pairs: pl.DataFrame, levels: np.ndarray | None, condition: Condition) -> EncodedReviews:
        """Encode the pairs with the rating and the feature that the condition allows as input."""
        user, item = id_arrays(pairs)
        level = np.zeros(len(pairs), dtype=np.int64)
        if "rating" in self.inputs and condition.rating == "given":
            level = pairs["level"].to_numpy().astype(np.int64)
        elif "rating" in self.inputs and condition.rating == "predicted":
            level = np.rint(self._levels_of_rating_model(user, item) if levels is None else levels).astype(np.int64)
        feature: list[str | None] = [None] * len(pairs)
        if "feature" in self.inputs and condition.feature == "given":
            feature = pairs["feature"].to_list()
        elif "feature" in self.inputs and condition.feature == "predicted":
            feature = self._data.feature_predictor.predict(user, item)
        return self._vocabulary.encode_pairs(user, item, level, feature)

    def _levels_of_rating_model(self, user_N: np.ndarray, item_N: np.ndarray) -> np.ndarray:
        """Return the rating model's levels [N], clipped to 1..R; it is trained, with seed 0, when first needed."""
        if self._input_levels is None:
            if self.rating_model is None:
                raise ValueError("a network without ratings of its own needs a rating_model for rating=predicted")
            model = self.rating_model(self._data.users, self._data.items, 0)
            model.fit(*self._data.interactions())
            self._input_levels = model.predict
        return np.clip(self._input_levels(user_N, item_N), 1, self._data.levels)


def matched_width(create: Callable[[int], TextModel], parameters: int, heads: int) -> int:
    """Return the width whose network comes closest to `parameters`, a multiple of 2 * heads.

    The search builds networks on torch's meta device, without memory. Their size must grow with their width.
    """
    step = 2 * heads

    def num_parameters(units: int) -> int:
        with torch.device("meta"):
            return create(units * step).num_parameters()

    low, high = 1, max(MAX_WIDTH // step, 1)
    while low < high:  # find the first width with at least as many parameters
        middle = (low + high) // 2
        low, high = (low, middle) if num_parameters(middle) >= parameters else (middle + 1, high)
    if low > 1 and parameters - num_parameters(low - 1) < num_parameters(low) - parameters:
        low -= 1
    return low * step
