"""`gavamoe train`: prepared data in, a run directory out; each finished stage is kept, an unfinished one resumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from gavamoe.config import RunConfig
from gavamoe.data.dataset import InteractionArrays, ReviewDataset
from gavamoe.errors import DataError
from gavamoe.explainer import build
from gavamoe.explainer import training as explainer_training
from gavamoe.explainer.clusters import GateClusters
from gavamoe.explainer.content import content_vectors, side_vectors
from gavamoe.explainer.examples import ExplanationDataset
from gavamoe.explainer.facts import Facts
from gavamoe.explainer.generation import generation_settings
from gavamoe.explainer.tuning import merged, save_adapter, with_lora
from gavamoe.files import staged_directory, write_json
from gavamoe.pipeline.card import write_model_card
from gavamoe.pipeline.opening import Stage, opened
from gavamoe.preference import training as preference_training
from gavamoe.preference.item_text import ItemText
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.selection import choose_clusters
from gavamoe.run import EXPLAINER_FILES, PREFERENCE_FILES, RunCard, RunDirectory
from gavamoe.runtime import default_device, leader_first, leads

HAS_TEXT = pl.col("text").is_not_null() & (pl.col("text").str.strip_chars() != "")


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
    asked = RunCard(str(data.resolve()), preset, base_model, config)
    say = on_note if leads() else lambda text: None

    def check(card: RunCard) -> None:
        _check_explainer(run, dataset, card, stage)

    with opened(run, dataset, asked, stage, resume, check) as card:
        check(card)  # early: what would stop stage 2 should not cost stage 1
        if stage in ("preference", "all") and not run.has(PREFERENCE_FILES):
            say("stage 1: the preference model learns taste from ratings")
            _train_preference(run, dataset, card.settings, say)
        if stage in ("explainer", "all"):
            run.require(*PREFERENCE_FILES)
    if stage in ("explainer", "all") and not run.has(EXPLAINER_FILES):
        say("stage 2: the language model learns to explain")
        _train_explainer(run, dataset, card)
    if leads():
        write_model_card(run, dataset, card)
    return summary(run)


def _check_explainer(run: RunDirectory, dataset: ReviewDataset, card: RunCard, stage: Stage) -> None:
    if stage == "preference":
        return
    config = card.settings
    config.explainer.settled(base=card.base_model is not None)
    if not run.has(EXPLAINER_FILES):
        for split in ("train", "valid"):
            _check_texts(dataset, split)
    if card.base_model is not None and not run.has(EXPLAINER_FILES):
        build.check_base(card.base_model, config.explainer, config.preference.clusters)


def summary(run: RunDirectory) -> dict[str, Any]:
    """Where the run lies and the last figures of each stage it has."""
    records = run.read_training()
    result: dict[str, Any] = {"run": str(run.path)}
    if "preference" in records:
        best = preference_training.best_record(records["preference"])
        result["preference"] = {key: best[key] for key in ("valid_rmse", "valid_nll", "valid_kl")}
        result["preference"]["live_clusters"] = records["preference"][-1]["live_clusters"]
    losses = [record["eval_loss"] for record in records.get("explainer", []) if "eval_loss" in record]
    if losses:
        result["explainer"] = {"epochs": len(losses), "valid_loss": min(losses)}
    return result


def _ids(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    user, item = (frame[name].to_numpy().astype(np.int64) for name in ("user_id", "item_id"))
    return user, item


def _train_preference(run: RunDirectory, dataset: ReviewDataset, config: RunConfig, say: Callable[[str], None]) -> None:
    preference, seed, catalog = config.preference, config.seed, dataset.catalog
    with leader_first():
        arrays = dataset.mapped_arrays(run.checkpoints / "interactions")
    sizes = catalog.n_users, catalog.n_items, catalog.scale.levels
    checkpoint = run.checkpoints / "preference.safetensors"
    if preference.choose_clusters is not None:
        clusters = _chosen(run, arrays, sizes, config, say)
        preference = preference.model_copy(update={"clusters": clusters})
    model = PreferenceModel.sized(*sizes, preference, seed).to(default_device())
    if preference.item_features:
        model.describe_items(ItemText(catalog.items, preference.item_features, seed).vectors(catalog.items))
    history = preference_training.fit(model, arrays["train"], arrays["valid"], preference, seed, checkpoint)
    with leader_first() as leading:
        if leading:
            _record(run, "preference", history)
            with staged_directory(run.preference) as staged:
                model.save_pretrained(staged)
            run.discard_checkpoints()


def _chosen(
    run: RunDirectory,
    arrays: dict[str, InteractionArrays],
    sizes: tuple[int, int, int],
    config: RunConfig,
    say: Callable[[str], None],
) -> int:
    """The number of clusters that the criterion names, kept with its rivals for a resumed training."""
    criterion = config.preference.choose_clusters or "bic"
    records = run.read_training().get("clusters")
    if records is None:
        found = choose_clusters(arrays["train"], arrays["valid"], *sizes, config.preference, criterion, config.seed)
        records = [{"clusters": c.clusters, criterion: c.cost} for c in found]
        with leader_first() as leading:
            if leading:
                _record(run, "clusters", records)
    clusters = int(records[0]["clusters"])
    say(f"{clusters} clusters by {criterion.upper()} among {' to '.join(map(str, config.preference.cluster_range))}")
    return clusters


def _train_explainer(run: RunDirectory, dataset: ReviewDataset, card: RunCard) -> None:
    config, seed = card.settings.explainer.settled(base=card.base_model is not None), card.settings.seed
    preference = PreferenceModel.from_pretrained(run.preference).eval()
    train, valid = (_texts(dataset, split) for split in ("train", "valid"))
    torch.manual_seed(seed)
    clusters = GateClusters.fit(config.gate_clusters, preference, *_ids(train), seed)
    facts = Facts.fit(train, dataset.catalog, preference, clusters, config.evidence)
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
        ExplanationDataset(facts.of_reviews(frame), frame["text"].to_list(), tokenizer, config, seed, hide)
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
        facts.save(staged)
    run.discard_checkpoints()


def _texts(dataset: ReviewDataset, split: str) -> pl.DataFrame:
    return dataset.interactions(split).filter(HAS_TEXT)


def _check_texts(dataset: ReviewDataset, split: str) -> None:
    if dataset.scan().filter((pl.col("split") == split) & HAS_TEXT).head(1).collect().is_empty():
        raise DataError(f"{dataset.path} has no {split} reviews with text, and the explainer learns from texts")


def _record(run: RunDirectory, stage: str, history: list[dict[str, Any]]) -> None:
    write_json(run.training, {**run.read_training(), stage: history})
