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
from gavamoe.distributed import default_device, is_main_process, main_process_first
from gavamoe.errors import DataError
from gavamoe.explainer import build
from gavamoe.explainer.context import ContextBuilder
from gavamoe.explainer.dataset import ExplanationDataset
from gavamoe.explainer.gate_assignment import GateAssignment
from gavamoe.explainer.lora import add_lora, merge_lora, save_adapter
from gavamoe.explainer.soft_tokens import item_lsa_vectors, soft_token_init
from gavamoe.explainer.trainer import fit_explainer
from gavamoe.files import staged_directory, write_json
from gavamoe.language.decoding_config import generation_settings
from gavamoe.pipeline.model_card import write_model_card
from gavamoe.pipeline.run_setup import Stage, open_run
from gavamoe.preference.choose_k import choose_clusters
from gavamoe.preference.item_features import ItemText
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import best_record, fit_preference
from gavamoe.run import EXPLAINER_FILES, PREFERENCE_FILES, RunCard, RunDirectory

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
    say = on_note if is_main_process() else lambda text: None

    def check(card: RunCard) -> None:
        _check_explainer(run, dataset, card, stage)

    with open_run(run, dataset, asked, stage, resume, check) as card:
        check(card)  # early: what would stop stage 2 should not cost stage 1
        if stage in ("preference", "all") and not run.has(PREFERENCE_FILES):
            say("stage 1: the preference model learns taste from ratings")
            _train_preference(run, dataset, card.settings, say)
        if stage in ("explainer", "all"):
            run.require(*PREFERENCE_FILES)
    if stage in ("explainer", "all") and not run.has(EXPLAINER_FILES):
        say("stage 2: the language model learns to explain")
        _train_explainer(run, dataset, card)
    if is_main_process():
        write_model_card(run, dataset, card)
    return summary(run)


def _check_explainer(run: RunDirectory, dataset: ReviewDataset, card: RunCard, stage: Stage) -> None:
    if stage == "preference":
        return
    config = card.settings
    config.explainer.resolve_defaults(base=card.base_model is not None)
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
        best = best_record(records["preference"])
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
    with main_process_first():
        arrays = dataset.mapped_arrays(run.interactions)
    sizes = catalog.n_users, catalog.n_items, catalog.scale.levels
    checkpoint = run.preference_checkpoint
    if preference.choose_clusters is not None:
        clusters = _chosen(run, arrays, sizes, config, say)
        preference = preference.model_copy(update={"clusters": clusters})
    model = PreferenceModel.from_config(*sizes, preference, seed).to(default_device())
    if preference.item_features:
        model.set_item_features(ItemText(catalog.items, preference.item_features, seed).vectors(catalog.items))
    history = fit_preference(model, arrays["train"], arrays["valid"], preference, seed, checkpoint)
    with main_process_first() as leading:
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
        with main_process_first() as leading:
            if leading:
                _record(run, "clusters", records)
    clusters = int(records[0]["clusters"])
    say(f"{clusters} clusters by {criterion.upper()} among {' to '.join(map(str, config.preference.cluster_range))}")
    return clusters


def _train_explainer(run: RunDirectory, dataset: ReviewDataset, card: RunCard) -> None:
    config, seed = card.settings.explainer.resolve_defaults(base=card.base_model is not None), card.settings.seed
    preference = PreferenceModel.from_pretrained(run.preference).eval()
    train, valid = (_texts(dataset, split) for split in ("train", "valid"))
    torch.manual_seed(seed)
    clusters = GateAssignment.fit(config.gate_clusters, preference, *_ids(train), seed)
    context = ContextBuilder.fit(train, dataset.catalog, preference, clusters, config.evidence)
    users, items = preference.embedding_tables()
    if not config.use_preference_vectors:
        users, items = users[:, :0], items[:, :0]
    vectors = (
        soft_token_init(users, torch.zeros(len(users), config.soft_token_width)),
        soft_token_init(items, item_lsa_vectors(train, len(items), config.soft_token_width)),
    )
    if card.base_model is None:
        model, tokenizer = build.from_scratch(train["text"].to_list(), config, clusters.count, vectors)
    else:
        model, tokenizer = build.from_base(card.base_model, config, clusters.count, vectors)
    model.generation_config = generation_settings(config, tokenizer)
    learn, check = (
        ExplanationDataset(context.from_reviews(frame), frame["text"].to_list(), tokenizer, config, seed, hide)
        for frame, hide in ((train, True), (valid, False))
    )
    trained = add_lora(model, tokenizer, config) if config.tuning == "lora" else model
    logs = run.tensorboard if config.tensorboard else None
    history = fit_explainer(trained, tokenizer, learn, check, config, seed, run.explainer_checkpoints, logs)
    if not is_main_process():
        return
    _record(run, "explainer", history)
    with staged_directory(run.explainer) as staged:
        if config.save == "adapter" and card.base_model is not None:
            save_adapter(trained, card.base_model, staged)
        else:
            merge_lora(trained).save_pretrained(staged)
        tokenizer.save_pretrained(staged)
        context.save(staged)
    run.discard_checkpoints()


def _texts(dataset: ReviewDataset, split: str) -> pl.DataFrame:
    return dataset.interactions(split).filter(HAS_TEXT)


def _check_texts(dataset: ReviewDataset, split: str) -> None:
    if dataset.scan().filter((pl.col("split") == split) & HAS_TEXT).head(1).collect().is_empty():
        raise DataError(f"{dataset.path} has no {split} reviews with text, and the explainer learns from texts")


def _record(run: RunDirectory, stage: str, history: list[dict[str, Any]]) -> None:
    write_json(run.training, {**run.read_training(), stage: history})
