"""`gavamoe train`: from prepared data to a run directory; a finished stage is kept, an unfinished one resumes.

train_run: open the run -> stage 1 (_train_preference) -> stage 2 (_train_explainer) -> model card
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.config import PreferenceConfig, RunConfig
from gavamoe.data.dataset import HAS_TEXT, InteractionArrays, ReviewDataset
from gavamoe.distributed import default_device, is_main_process, main_process_first
from gavamoe.errors import DataError
from gavamoe.explainer import build
from gavamoe.explainer.train import prompt_template, train_explainer
from gavamoe.files import staged_directory, write_json
from gavamoe.language.named_bases import base_id, describe_base
from gavamoe.pipeline.model_card import write_model_card
from gavamoe.pipeline.run_setup import Stage, open_run
from gavamoe.preference.choose_k import choose_clusters
from gavamoe.preference.item_features import ItemText
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.text_target import COLUMNS, TextTarget
from gavamoe.preference.trainer import best_record, fit_preference
from gavamoe.run import EXPLAINER_FILES, PREFERENCE_FILES, RunCard, RunDirectory
from gavamoe.seal import is_sealed


def train_run(
    data: Path,
    out: Path,
    config: RunConfig | None = None,
    preset: str = "small",
    base_model: str | None = None,
    stage: Stage = "all",
    resume: bool = False,
    on_note: Callable[[str], None] = lambda text: None,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Train the requested stages of a run and return their last figures (`summary`).

    A run that was interrupted and resumed ends with the weights of an uninterrupted run with the same seed.

    Args:
        data: directory of a prepared dataset.
        out: run directory; a new one, one to resume, or one that lacks the requested stage.
        config: settings; None takes those of the run to resume, or those of the preset.
        preset: name of the preset.
        base_model: name, hub id, directory or GGUF file of the LM that stage 2 is built around; None trains a small one
            from scratch.
        stage: which stages to train.
        resume: whether to continue an interrupted run.
        on_note: receives a line when a stage starts.
        trust_remote_code: whether code that comes with the base model may run.

    Raises:
        RunError: `out` holds files and is neither resumed nor given a missing stage.
        ConfigError: The settings contradict each other, the data or the run.
        DataError: The data has no texts to learn from.
    """
    dataset = ReviewDataset.load(data)
    run = RunDirectory(out)
    say = on_note if is_main_process() else lambda text: None
    source = None
    if base_model is not None:
        source, base_model = describe_base(base_model), base_id(base_model)
    requested = RunCard(str(data.resolve()), preset, base_model, config, dataset.has_texts())
    if resume and stage == "all" and not requested.has_texts:
        stage = "preference"  # the only stage that a run without texts can have been started with
        say(f"{data} has no texts: stage 1 alone")

    def check(card: RunCard) -> None:
        _check_explainer(run, dataset, card, stage, trust_remote_code)

    with open_run(run, dataset, requested, stage, resume, check) as card:
        check(card)  # before stage 1, so that its training is not wasted if stage 2 is impossible
        if source is not None:
            say(source)
        if stage in ("preference", "all") and not run.has(PREFERENCE_FILES):
            say("stage 1: the preference model learns taste from ratings")
            _train_preference(run, dataset, card.settings, say)
        if stage in ("explainer", "all"):
            run.require(*PREFERENCE_FILES)
            if not run.has(EXPLAINER_FILES):
                say("stage 2: the language model learns to explain")
                _train_explainer(run, dataset, card, trust_remote_code)
        if is_main_process():
            _finish(run, dataset, card, stage)
    return summary(run)


def _finish(run: RunDirectory, dataset: ReviewDataset, card: RunCard, stage: Stage) -> None:
    """Delete what an interruption left of the training state, write the model card, and seal the run."""
    if stage != "preference" or not run.explainer_checkpoints.exists():
        run.discard_checkpoints()
    write_model_card(run, dataset, card)
    if not is_sealed(run.path):
        run.seal()


def _check_explainer(
    run: RunDirectory, dataset: ReviewDataset, card: RunCard, stage: Stage, trust_remote_code: bool
) -> None:
    """Raise `InputError` if stage 2 cannot be trained as the card says."""
    if stage == "preference":
        return
    config = card.settings
    config.explainer.resolve_defaults(base=card.base_model is not None)
    if not run.has(EXPLAINER_FILES):
        for split in ("train", "valid"):
            _check_texts(dataset, split, run)
        prompt_template(config.explainer.resolve_defaults(card.base_model is not None), dataset.catalog, None)
    if card.base_model is not None and not run.has(EXPLAINER_FILES):
        build.check_base(card.base_model, config.explainer, config.preference.clusters, trust_remote_code)


def summary(run: RunDirectory) -> dict[str, Any]:
    """Return the path of a run and the figures of each trained stage, as `gavamoe train --json` prints them."""
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


def _train_preference(run: RunDirectory, dataset: ReviewDataset, config: RunConfig, say: Callable[[str], None]) -> None:
    """Train stage 1 and save it in the run."""
    preference, seed, catalog = config.preference, config.seed, dataset.catalog
    with main_process_first():
        arrays = dataset.mapped_arrays(run.interactions)
    sizes = catalog.n_users, catalog.n_items, catalog.scale.levels
    checkpoint = run.preference_checkpoint
    arrays, target = _read_texts(dataset, arrays, preference)
    vocabulary = len(target.units) if target else 0
    if preference.choose_clusters is not None:
        clusters = _chosen_clusters(run, arrays, sizes, config, vocabulary, say)
        preference = preference.model_copy(update={"clusters": clusters})
    model = PreferenceModel.from_config(*sizes, preference, seed, vocabulary).to(default_device())
    if preference.item_features:
        model.set_item_features(ItemText(catalog.items, preference.item_features, seed).vectors(catalog.items))
    history = fit_preference(model, arrays["train"], arrays["valid"], preference, seed, checkpoint)
    with main_process_first() as is_first:
        if is_first:
            _record(run, "preference", history)
            with staged_directory(run.preference) as staged:
                model.save_pretrained(staged)
                if target is not None:
                    target.save(staged)
            run.discard_checkpoints()


def _read_texts(
    dataset: ReviewDataset, arrays: dict[str, InteractionArrays], config: PreferenceConfig
) -> tuple[dict[str, InteractionArrays], TextTarget | None]:
    """Add to the interactions what stage 1 reads of their texts; unchanged and None if it reconstructs ratings only.

    Raises:
        DataError: the dataset has no texts or no features to read.
    """
    kind = config.text_kind
    if kind is None:
        return arrays, None
    missing = set(COLUMNS[kind]) - set(dataset.scan().collect_schema().names())
    if missing:
        raise DataError(
            f"preference.reconstructs={config.reconstructs}: {dataset.path} has no column {min(missing)}; prepare data "
            "with texts, or use preference.reconstructs=ratings"
        )
    reviews = {split: dataset.interactions(split, COLUMNS[kind]) for split in ("train", "valid")}
    target = TextTarget.fit(kind, reviews["train"])
    return {split: target.with_units(arrays[split], reviews[split]) for split in reviews}, target


def _chosen_clusters(
    run: RunDirectory,
    arrays: dict[str, InteractionArrays],
    sizes: tuple[int, int, int],
    config: RunConfig,
    vocabulary: int,
    say: Callable[[str], None],
) -> int:
    """Return the number of clusters with the best criterion; all candidates are recorded, for a resumed training."""
    criterion = config.preference.choose_clusters or "bic"
    records = run.read_training().get("clusters")
    if records is None:
        splits = arrays["train"], arrays["valid"]
        tried = choose_clusters(*splits, *sizes, config.preference, criterion, config.seed, vocabulary)
        records = [{"clusters": c.clusters, criterion: c.cost} for c in tried]
        with main_process_first() as is_first:
            if is_first:
                _record(run, "clusters", records)
    clusters = int(records[0]["clusters"])
    name = {"bic": "BIC", "elbo": "ELBO", "text": "likelihood of texts"}[criterion]
    say(f"{clusters} clusters by {name} among {' to '.join(map(str, config.preference.cluster_range))}")
    return clusters


def _train_explainer(run: RunDirectory, dataset: ReviewDataset, card: RunCard, trust_remote_code: bool) -> None:
    """Train stage 2 and save it in the run."""
    trained = train_explainer(
        _reviews_with_text(dataset, "train"),
        _reviews_with_text(dataset, "valid"),
        dataset.catalog,
        PreferenceModel.from_pretrained(run.preference).eval(),
        card.settings.explainer,
        card.settings.seed,
        run.explainer_checkpoints,
        card.base_model,
        run.tensorboard,
        trust_remote_code,
    )
    if not is_main_process():
        return
    _record(run, "explainer", trained.history)
    with staged_directory(run.explainer) as staged:
        trained.save(staged)
    run.discard_checkpoints()


def _reviews_with_text(dataset: ReviewDataset, split: str) -> pl.DataFrame:
    return dataset.interactions(split).filter(HAS_TEXT)


def _check_texts(dataset: ReviewDataset, split: str, run: RunDirectory) -> None:
    """Raise `DataError` if a split has no review with text; the message names the command for ratings alone."""
    if dataset.has_texts(split):
        return
    problem = f"{dataset.path} has no {split} reviews with text, and stage 2 learns from texts"
    if run.has(PREFERENCE_FILES):
        raise DataError(f"{problem}; {run.path} has stage 1, which predicts ratings: `gavamoe evaluate {run.path}`")
    raise DataError(
        f"{problem}; to predict ratings, train stage 1 alone: "
        f"`gavamoe train {dataset.path} --out {run.path} --stage preference`"
    )


def _record(run: RunDirectory, stage: str, history: list[dict[str, Any]]) -> None:
    """Add the loss records of a stage to training.json."""
    write_json(run.training, {**run.read_training(), stage: history})
