"""GaVaMoE as a system of the comparison: a run like any other, trained and asked through the pipeline."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from transformers import AutoTokenizer

from gavamoe.baselines.base import Predictions, TrainingSummary
from gavamoe.baselines.data import TextData
from gavamoe.conditions import Condition
from gavamoe.config import PreferenceConfig, RunConfig
from gavamoe.data.dataset import InteractionArrays
from gavamoe.experiments.trial import TRAINING
from gavamoe.explainer import build
from gavamoe.explainer.explainer import Explainer
from gavamoe.files import staged_directory
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.pipeline.train import train_run
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import fit_preference
from gavamoe.run import RunDirectory

STARTED = "started"


class Gavamoe:
    """Both stages under one configuration.

    Args:
        twin: a system of the same comparison that was trained before and differs in decoding alone.
    """

    inputs = frozenset({"rating", "feature"})

    def __init__(self, config: RunConfig, preset: str, base_model: str | None, twin: str | None = None):
        self.config, self.preset, self.base_model, self.twin = config, preset, base_model, twin
        self.explainer: Explainer | None = None

    def fit(self, data: TextData, seed: int, directory: Path) -> TrainingSummary:
        """As `System.fit`; the run lies in `directory`/run."""
        run = RunDirectory(directory / "run")
        if self.twin is not None:
            training = self._take_over(directory.parents[1] / self.twin / directory.name, run)
            self.load(data, seed, directory)
            return training
        begun = run.card.is_file()
        clock = TrainingTimer(directory / STARTED, run.path)
        train_run(data.dataset.path, run.path, self.config, self.preset, self.base_model, resume=begun)
        seconds = clock.stop()
        self.load(data, seed, directory)
        history = run.read_training()
        losses = [record["eval_loss"] for record in history["explainer"] if "eval_loss" in record]
        vocabulary = data.of_base if self.base_model else data.own
        return TrainingSummary(
            parameters=self._parameters(),
            seconds=seconds,
            tokens=len(losses) * vocabulary.train.tokens,
            epochs=len(losses),
            valid_loss=min(losses),
            history=tuple({"stage": stage, **record} for stage, records in history.items() for record in records),
        )

    def load(self, data: TextData, seed: int, directory: Path) -> None:
        """As `System.load`."""
        self.explainer = Explainer.from_pretrained(directory / "run")

    def predict(self, pairs: pl.DataFrame, condition: Condition) -> Predictions:
        """As `System.predict`."""
        if self.explainer is None:
            raise ValueError("fit or load comes before predict")
        explanations = self.explainer.explain_batch(pairs, condition)
        return Predictions([e.text for e in explanations], np.array([e.rating for e in explanations]))

    def _take_over(self, twin: Path, run: RunDirectory) -> TrainingSummary:
        """The twin's run with our decoding, and what its training took."""
        with staged_directory(run.path) as staged:
            shutil.copytree(twin / "run", staged, dirs_exist_ok=True)
            copy = RunDirectory(staged)
            copy.write_card(replace(copy.read_card(), config=self.config))
            tokenizer = AutoTokenizer.from_pretrained(copy.explainer)
            decoding = DecodingConfig.from_settings(self.config.explainer, tokenizer)
            decoding.to_generation_config().save_pretrained(copy.explainer)
        return TrainingSummary(**json.loads((twin / TRAINING).read_text(encoding="utf-8")))

    def _parameters(self) -> int:
        if self.explainer is None:
            return 0
        return _count(self.explainer.model) + _count(self.explainer.preference)


class PreferenceRatings:
    """Stage 1 alone, as a model of ratings: `fit` on arrays of ids and levels, `predict` in levels 1..R."""

    def __init__(self, users: int, items: int, seed: int, config: PreferenceConfig):
        self.users, self.items, self.seed, self.config = users, items, seed, config

    @property
    def parameters(self) -> int:
        """How many were learned."""
        return _count(self.model_)

    def fit(self, train: InteractionArrays, valid: InteractionArrays) -> PreferenceRatings:
        """As in a run."""
        levels = int(max(train.level.max(), valid.level.max()))
        self.model_ = PreferenceModel.from_config(self.users, self.items, levels, self.config, self.seed)
        fit_preference(self.model_, train, valid, self.config, self.seed)
        return self

    def predict(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Expected level of each pair, [N]."""
        return self.model_.predict_rating(torch.from_numpy(user_id), torch.from_numpy(item_id)).numpy()


class TrainingTimer:
    """Seconds of a training, those of interrupted sessions with them: they lasted until they wrote their last file."""

    def __init__(self, path: Path, written: Path):
        self.path, self.before = path, 0.0
        if path.is_file():
            before, started = map(float, path.read_text(encoding="utf-8").split())
            newest = max((file.stat().st_mtime for file in written.rglob("*")), default=started)
            self.before = before + max(newest - started, 0.0)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.started = time.time()
        path.write_text(f"{self.before} {self.started}", encoding="utf-8")

    def stop(self) -> float:
        """All seconds so far."""
        self.path.unlink()
        return self.before + time.time() - self.started


def parameters_of(data: TextData, config: RunConfig) -> int:
    """How many parameters GaVaMoE from scratch has under a configuration, both stages: what baselines are sized by."""
    preference = config.preference
    # What is set for a base model says nothing of a model from scratch.
    from_scratch = {"initialisation": None, "tuning": None, "save": "merged", "load_in_4bit": False}
    explainer = config.explainer.model_copy(update=from_scratch)
    sizes: dict[str, Any] = preference.model_dump(include={"clusters", "latent", "embedding", "hidden"})
    with torch.random.fork_rng():
        stage1 = PreferenceModel(data.users, data.items, data.levels, **sizes)
        width = preference.embedding + explainer.soft_token_width
        vectors = torch.zeros(data.users + 1, width), torch.zeros(data.items + 1, width)
        texts = data.train_reviews["text"].to_list()
        stage2, _ = build.from_scratch(texts, explainer, preference.clusters, vectors)
    return _count(stage1) + _count(stage2)


def _count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
