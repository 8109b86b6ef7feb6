"""GaVaMoE as a system of the comparison, trained and used through the pipeline; and stage 1 alone as a rating model."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from transformers import AutoTokenizer

from gavamoe.baselines.base import Predictions, TrainingSummary
from gavamoe.baselines.data import TextData
from gavamoe.conditions import Condition
from gavamoe.config import PreferenceConfig, RunConfig
from gavamoe.data.dataset import InteractionArrays
from gavamoe.distributed import default_device
from gavamoe.experiments.training_timer import SECONDS, TrainingTimer
from gavamoe.explainer import build
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.soft_tokens import SoftTokenVectors
from gavamoe.files import staged_directory
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.parameters import num_parameters
from gavamoe.pipeline.train import train_run
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.text_target import TextTarget
from gavamoe.preference.trainer import fit_preference
from gavamoe.run import RunDirectory


class GavamoeSystem:
    """Both stages of GaVaMoE as a system; it trains a run in `directory`/run.

    Args:
        config: of the run, with its seed.
        preset: the named configuration that `config` started from.
        base_model: hub id or directory of the LM that stage 2 starts from; None: from scratch.
        reuse_weights_from: directory name of a trained system of the same comparison that differs in decoding alone.
    """

    inputs = frozenset({"rating", "feature"})

    def __init__(
        self, config: RunConfig, preset: str, base_model: str | None = None, reuse_weights_from: str | None = None
    ):
        self.config, self.preset, self.base_model = config, preset, base_model
        self.reuse_weights_from = reuse_weights_from
        self.explainer: Explainer | None = None

    def fit(self, data: TextData, seed: int, directory: Path) -> TrainingSummary:
        """Train both stages or resume an interrupted training; copy the run of a system that has the same weights."""
        if data.path is None:
            raise ValueError("GaVaMoE trains on a prepared dataset; make the data with TextData.from_dataset")
        run = RunDirectory(directory / "run")
        if self.reuse_weights_from is not None:
            training = self._copy_run(directory.parents[1] / self.reuse_weights_from / directory.name, run)
            self.load(data, seed, directory)
            return training
        with TrainingTimer(directory / SECONDS) as timer:
            train_run(data.path, run.path, self.config, self.preset, self.base_model, resume=run.card.is_file())
        seconds = timer.seconds
        self.load(data, seed, directory)
        history = run.read_training()
        losses = [record["eval_loss"] for record in history["explainer"] if "eval_loss" in record]
        vocabulary = data.base_vocabulary if self.base_model else data.corpus_vocabulary
        (directory / SECONDS).unlink()
        return TrainingSummary(
            parameters=self._parameters(),
            seconds=seconds,
            tokens=len(losses) * vocabulary.train.tokens,
            epochs=len(losses),
            valid_loss=min(losses),
            history=tuple({"stage": stage, **record} for stage, records in history.items() for record in records),
        )

    def load(self, data: TextData, seed: int, directory: Path) -> None:
        """Load the run in `directory`/run."""
        self.explainer = Explainer.from_pretrained(directory / "run")

    def predict(self, pairs: pl.DataFrame, condition: Condition) -> Predictions:
        """Explain the pairs; ratings are those of stage 1."""
        if self.explainer is None:
            raise ValueError("fit or load comes before predict")
        if self.explainer.context.template is None:  # a prompt of special tokens has no context to choose
            condition = replace(condition, context=None)
        explanations = self.explainer.explain_batch(pairs, condition)
        return Predictions([e.text for e in explanations], np.array([e.rating for e in explanations]))

    def _copy_run(self, trained: Path, run: RunDirectory) -> TrainingSummary:
        """Copy the run of a trained system with this system's decoding; return what its training took."""
        with staged_directory(run.path) as staged:
            shutil.copytree(trained / "run", staged, dirs_exist_ok=True)
            copy = RunDirectory(staged)
            copy.check_seal()
            copy.break_seal()
            copy.write_card(replace(copy.read_card(), config=self.config))
            tokenizer = AutoTokenizer.from_pretrained(copy.explainer, trust_remote_code=False)
            decoding = DecodingConfig.from_settings(self.config.explainer, tokenizer)
            decoding.to_generation_config().save_pretrained(copy.explainer)
            copy.seal()
        return TrainingSummary.load(trained)

    def _parameters(self) -> int:
        if self.explainer is None:
            return 0
        return num_parameters(self.explainer.model, self.explainer.preference)


class PreferenceRatings:
    """Stage 1 alone as a `RatingModel`."""

    def __init__(self, users: int, items: int, seed: int, config: PreferenceConfig):
        self.users, self.items, self.seed, self.config = users, items, seed, config

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return num_parameters(self.model_)

    def fit(self, train: InteractionArrays, valid: InteractionArrays) -> PreferenceRatings:
        """Train stage 1 as a run does."""
        levels = int(max(train.level.max(), valid.level.max()))
        model = PreferenceModel.from_config(self.users, self.items, levels, self.config, self.seed)
        self.model_ = model.to(default_device())
        fit_preference(self.model_, train, valid, self.config, self.seed)
        return self

    def predict(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Return the expected level of each pair, [N]."""
        return self.model_.predict_rating(user_id, item_id).cpu().numpy()


def count_parameters(data: TextData, config: RunConfig) -> int:
    """Return the number of parameters of both stages of GaVaMoE from scratch, which baselines are matched to."""
    preference = config.preference
    # Settings for a base model do not apply to a model from scratch.
    from_scratch = {"initialisation": None, "tuning": None, "save": "merged", "load_in_4bit": False}
    explainer = config.explainer.model_copy(update=from_scratch)
    vocabulary = len(TextTarget.fit(preference.text_kind, data.train).units) if preference.text_kind else 0
    stage1 = PreferenceModel.from_config(data.users, data.items, data.levels, preference, vocabulary=vocabulary)
    with torch.random.fork_rng():
        tables = stage1.embedding_tables()
        width = explainer.soft_token_width + (tables[0].shape[1] if explainer.use_preference_vectors else 0)
        users, items = (torch.zeros(len(table), width) for table in tables)
        texts = data.train_texts["text"].to_list()
        gates = 1 if explainer.gate_clusters == "one" else preference.clusters
        stage2, _ = build.from_scratch(texts, explainer, gates, SoftTokenVectors(users, items, stage1.user_row_N))
    return num_parameters(stage1, stage2)
