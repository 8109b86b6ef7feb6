"""One trial of `gavamoe tune`: train a stage with some settings and return its validation loss.

stage 1   -log p(r | z = mu), in nats per rating: comparable whatever beta and K are
stage 2   cross-entropy of explanations, in nats per token: one tokenizer for all trials, so comparable too

A trial reports its loss after every epoch; the receiver may raise to end a trial that is worse than others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.config import VALIDATION_PART, RunConfig
from gavamoe.data.dataset import HAS_TEXT, ReviewDataset
from gavamoe.explainer.train import train_explainer
from gavamoe.files import remove_directory, staged_directory
from gavamoe.preference.build import read_texts, untrained_model
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import PreferenceTrainer, fit_preference

ReportLoss = Callable[[int, float], None]  # epoch, validation loss
STATE = "trial"  # training state of the running trial


class _ReportingTrainer(PreferenceTrainer):
    """Reports the rating loss of every joint epoch at full beta."""

    def __init__(self, *arguments: Any, report: ReportLoss):
        self.report = report
        super().__init__(*arguments)

    def _validate(self, record: dict[str, Any]) -> dict[str, Any]:
        record = super()._validate(record)
        if record["phase"] == "joint" and record["settled"]:
            self.report(record["epoch"], record["valid_nll"])
        return record


class TrialData:
    """The data that trials train on, read once.

    Args:
        dataset: the prepared dataset.
        config: settings of the search; trials do not change what stage 1 reconstructs.
        limit: largest number of training reviews of a trial; validation takes a part
            of it (`VALIDATION_PART`); None: all.
    """

    def __init__(self, dataset: ReviewDataset, config: RunConfig, limit: int | None):
        self.dataset, self.limit = dataset, limit
        arrays = {split: dataset.arrays(split) for split in ("train", "valid")}
        arrays, target = read_texts(dataset, arrays, config.preference)
        valid_limit = None if limit is None else -(-limit // VALIDATION_PART)
        self.train = arrays["train"].sample(limit, config.seed)
        self.valid = arrays["valid"].sample(valid_limit, config.seed)
        self.vocabulary = len(target.units) if target else 0

    def texts(self, split: str) -> pl.DataFrame:
        """Return the reviews of a split that have a text."""
        return self.dataset.interactions(split).filter(HAS_TEXT)


def preference_trial(data: TrialData, config: RunConfig, report: ReportLoss) -> tuple[PreferenceModel, float]:
    """Train stage 1 and return it with its rating loss on the validation reviews, in nats."""
    model = untrained_model(data.dataset.catalog, config.preference, config.seed, data.vocabulary)
    trainer = partial(_ReportingTrainer, report=report)
    history = fit_preference(model, data.train, data.valid, config.preference, config.seed, trainer=trainer)
    return model.eval(), float(history[-1]["valid_nll"])


def explainer_trial(
    data: TrialData,
    config: RunConfig,
    base_model: str | None,
    preference: PreferenceModel,
    out: Path,
    report: ReportLoss,
) -> float:
    """Train stage 2 and return its lowest validation loss in nats per token.

    Args:
        data: the reviews.
        config: settings of the trial.
        base_model: hub id or directory of the LM that stage 2 starts from; None: from scratch.
        preference: stage 1 with as many clusters as the settings say.
        out: directory of the search; the training state is kept there while the trial runs.
        report: receives each epoch's loss.
    """
    settings, state = config.explainer, out / STATE
    if data.limit is not None and settings.max_reviews is None:
        settings = settings.model_copy(update={"max_reviews": data.limit})
    remove_directory(state)
    try:
        trained = train_explainer(
            data.texts("train"),
            data.texts("valid"),
            data.dataset.catalog,
            preference,
            settings,
            config.seed,
            state,
            base_model,
            on_validation=report,
        )
    finally:
        remove_directory(state)
    return min(float(record["eval_loss"]) for record in trained.records if "eval_loss" in record)


def stage_1_with(data: TrialData, config: RunConfig, out: Path) -> PreferenceModel:
    """Return stage 1 with the settings, trained once for all trials of stage 2 that have the same."""
    digest = hashlib.sha256(config.preference.model_dump_json().encode()).hexdigest()[:8]
    directory = out / "preference" / f"K-{config.preference.clusters}-{digest}"
    if not (directory / "model.safetensors").is_file():
        model, _ = preference_trial(data, config, lambda epoch, loss: None)
        with staged_directory(directory) as staged:
            model.save_pretrained(staged)
    return PreferenceModel.from_pretrained(directory).eval()
