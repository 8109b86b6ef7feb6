"""`gavamoe train`: prepared data in, a run directory out; each finished stage is kept, an unfinished one resumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from gavamoe.config import RunConfig
from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import DataError
from gavamoe.explainer import build
from gavamoe.explainer import training as explainer_training
from gavamoe.explainer.base import check_base
from gavamoe.explainer.clusters import GateClusters
from gavamoe.explainer.content import content_vectors, side_vectors
from gavamoe.explainer.examples import ExplanationDataset, PairColumns
from gavamoe.explainer.features import FeaturePredictor
from gavamoe.explainer.generation import generation_settings
from gavamoe.explainer.tuning import merged, save_adapter, with_lora
from gavamoe.files import staged_directory, write_json
from gavamoe.pipeline.card import write_model_card
from gavamoe.pipeline.opening import Stage, opened
from gavamoe.preference import training as preference_training
from gavamoe.preference.model import PreferenceModel
from gavamoe.run import EXPLAINER_FILES, PREFERENCE_FILES, RunCard, RunDirectory
from gavamoe.runtime import leader_first, leads


def train_run(
    data: Path,
    out: Path,
    config: RunConfig | None = None,
    preset: str = "small",
    base_model: str | None = None,
    stage: Stage = "all",
    resume: bool = False,
    on_note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Train the stages asked for and return the figures of the last epochs.

    An existing run is continued only with `resume` or to add a stage it lacks; otherwise `RunError`. `config` None is
    that of the run to resume, or the preset. Interrupted and resumed, the weights are those of an uninterrupted run
    with the same seed.
    """
    dataset = ReviewDataset.load(data)
    run = RunDirectory(out)
    if base_model is not None and Path(base_model).is_dir():
        base_model = str(Path(base_model).resolve())
    with leader_first() as leading:  # of several processes one writes; only stage 2 is shared work
        if leading:
            _begin(run, dataset, RunCard(str(data.resolve()), preset, base_model, config), stage, resume, on_note)
    card = run.read_card()
    if stage in ("explainer", "all") and not run.has(EXPLAINER_FILES):
        if leading:
            on_note("stage 2: the language model learns to explain")
        _train_explainer(run, dataset, card)
    if leading:
        write_model_card(run, dataset, card)
    return summary(run)


def _begin(
    run: RunDirectory,
    dataset: ReviewDataset,
    asked: RunCard,
    stage: Stage,
    resume: bool,
    on_note: Callable[[str], None],
) -> None:
    """Open the run, find out early what would stop stage 2, and train stage 1 where it is missing."""
    with opened(run, dataset, asked, stage, resume) as card:
        if stage in ("explainer", "all"):
            card.settings.explainer.settled(base=card.base_model is not None)
            if card.base_model is not None and not run.has(EXPLAINER_FILES):
                check_base(card.base_model)
        if stage in ("preference", "all") and not run.has(PREFERENCE_FILES):
            on_note("stage 1: the preference model learns taste from ratings")
            _train_preference(run, dataset, card.settings)
        if stage in ("explainer", "all"):
            run.require(*PREFERENCE_FILES)


def summary(run: RunDirectory) -> dict[str, Any]:
    """Where the run lies and the last figures of each stage it has."""
    records = run.read_training()
    result: dict[str, Any] = {"run": str(run.path)}
    joint = [record for record in records.get("preference", []) if record["phase"] == "joint"]
    if joint:
        best = min(joint, key=lambda record: record["valid_objective"])
        result["preference"] = {key: best[key] for key in ("valid_rmse", "valid_nll", "valid_kl", "live_clusters")}
    losses = [record["eval_loss"] for record in records.get("explainer", []) if "eval_loss" in record]
    if losses:
        result["explainer"] = {"epochs": len(losses), "valid_loss": min(losses)}
    return result


def pair_columns(model: PreferenceModel, clusters: GateClusters, frame: pl.DataFrame) -> PairColumns:
    """Prepared reviews as stage 2 sees them: ids, the pair's cluster, true level and feature."""
    user, item = _ids(frame)
    return PairColumns(user, item, clusters.of(model, user, item), frame["level"].to_list(), frame["feature"].to_list())


def _ids(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    user, item = (frame[name].to_numpy().astype(np.int64) for name in ("user_id", "item_id"))
    return user, item


def _train_preference(run: RunDirectory, dataset: ReviewDataset, config: RunConfig) -> None:
    preference = config.preference
    catalog = dataset.catalog
    torch.manual_seed(config.seed)
    model = PreferenceModel(
        users=catalog.n_users,
        items=catalog.n_items,
        levels=catalog.scale.levels,
        clusters=preference.clusters,
        latent=preference.latent,
        embedding=preference.embedding,
        hidden=preference.hidden,
        dropout=preference.dropout,
    )
    checkpoint = run.checkpoints / "preference.safetensors"
    history = preference_training.fit(
        model, dataset.arrays("train"), dataset.arrays("valid"), preference, config.seed, checkpoint
    )
    _record(run, "preference", history)
    with staged_directory(run.preference) as staged:
        model.save_pretrained(staged)
    checkpoint.unlink(missing_ok=True)


def _train_explainer(run: RunDirectory, dataset: ReviewDataset, card: RunCard) -> None:
    config, seed = card.settings.explainer.settled(base=card.base_model is not None), card.settings.seed
    preference = PreferenceModel.from_pretrained(run.preference).eval()
    train, valid = (_texts(dataset, split) for split in ("train", "valid"))
    torch.manual_seed(seed)
    clusters = GateClusters.fit(config.gate_clusters, preference, *_ids(train), seed)
    users, items = preference.pair_vectors()
    if not config.taste_vectors:
        users, items = users[:, :0], items[:, :0]
    vectors = (
        side_vectors(users, torch.zeros(len(users), config.side_width)),
        side_vectors(items, content_vectors(train, len(items), config.side_width)),
    )
    if card.base_model is None:
        model, tokenizer = build.from_scratch(train["text"].to_list(), config, clusters.count, vectors)
    else:
        model, tokenizer = build.from_base(card.base_model, config, clusters.count, vectors)
    model.generation_config = generation_settings(config, tokenizer)
    learn, check = (
        ExplanationDataset(
            pair_columns(preference, clusters, frame), frame["text"].to_list(), tokenizer, config, seed, hide
        )
        for frame, hide in ((train, True), (valid, False))
    )
    trained = with_lora(model, tokenizer, config) if config.tuning == "lora" else model
    logs = run.tensorboard if config.tensorboard else None
    history = explainer_training.fit(
        trained, tokenizer, learn, check, config, seed, run.checkpoints / "explainer", logs
    )
    if not leads():
        return
    _record(run, "explainer", history)
    with staged_directory(run.explainer) as staged:
        if config.save == "adapter" and card.base_model is not None:
            save_adapter(trained, card.base_model, staged)
        else:
            merged(trained).save_pretrained(staged)
        tokenizer.save_pretrained(staged)
        FeaturePredictor.fit(train).save(staged)
        if clusters.source != "model":
            clusters.save(staged)
    run.discard_checkpoints()


def _texts(dataset: ReviewDataset, split: str) -> pl.DataFrame:
    frame = dataset.interactions(split).filter(pl.col("text").is_not_null() & (pl.col("text").str.strip_chars() != ""))
    if frame.is_empty():
        raise DataError(f"{dataset.path} has no {split} reviews with text, and the explainer learns from texts")
    return frame


def _record(run: RunDirectory, stage: str, history: list[dict[str, Any]]) -> None:
    write_json(run.training, {**run.read_training(), stage: history})
