"""`gavamoe train`: from prepared data to a run directory; a finished stage is kept, an unfinished one resumes.

train_run: open the run -> stage 1 (_train_preference) -> stage 2 (_train_explainer) -> model card

An update (`update`) starts both stages from the weights of another run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.config import DEFAULT_PRESET, PreferenceConfig, RunConfig
from gavamoe.data.dataset import HAS_TEXT, InteractionArrays, ReviewDataset
from gavamoe.distributed import default_device, is_main_process, main_process_first
from gavamoe.errors import ConfigError, DataError, InputError, RunError
from gavamoe.explainer import build
from gavamoe.explainer.checkpoints import find_complete_checkpoint
from gavamoe.explainer.model_card import describe_update, write_model_card
from gavamoe.explainer.train import train_explainer
from gavamoe.files import remove_directory, staged_directory, write_json
from gavamoe.language.named_bases import base_id, describe_base
from gavamoe.pipeline.run_setup import Stage, finished_files, open_run
from gavamoe.pipeline.update import UpdateSource, explainer_settings, with_source
from gavamoe.preference.build import read_texts, untrained_model
from gavamoe.preference.choose_k import choose_clusters
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.recommender import load_preference
from gavamoe.preference.trainer import best_record, fit_preference
from gavamoe.run import EXPLAINER_FILES, PREFERENCE_FILES, RunCard, RunDirectory
from gavamoe.seal import is_sealed


def train_run(
    data: Path,
    out: Path,
    config: RunConfig | None = None,
    preset: str = DEFAULT_PRESET,
    base_model: str | None = None,
    stage: Stage = "all",
    resume: bool = False,
    on_note: Callable[[str], None] = lambda text: None,
    trust_remote_code: bool = False,
    update: Path | None = None,
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
        update: a trained run whose weights the training starts from; `data` is its data with newer reviews appended.

    Raises:
        RunError: `out` holds files and is neither resumed nor given a missing stage.
        ConfigError: The settings contradict each other, the data or the run.
        DataError: The data has no training or validation reviews, or no texts to learn from.
    """
    dataset = ReviewDataset.load(data)
    _check_splits(dataset)
    run = RunDirectory(out)
    say = on_note if is_main_process() else lambda text: None
    about_base = None if base_model is None else describe_base(base_model)
    base = None if base_model is None else base_id(base_model)
    requested = RunCard(str(data.resolve()), preset, base, config, dataset.has_texts())
    if resume and stage == "all" and not requested.has_texts:
        stage = "preference"  # the only stage that a run without texts can have been started with
        say(f"{data} has no texts: stage 1 alone")
    if update is not None:
        requested = with_source(requested, UpdateSource.open(update, dataset), is_new=not run.card.is_file())
    if stage == "explainer" and requested.has_texts and not run.card.exists():
        raise RunError(f"there is no run at {run.path} with a stage 1: use --stage all, or --stage preference first")
    check = partial(_check_card, run, dataset, stage, trust_remote_code, update)
    with open_run(run, dataset, requested, stage, resume, check) as card:
        started_from = check(card)  # before stage 1, so that its training is not wasted if stage 2 is impossible
        if about_base is not None:
            say(about_base)
        if started_from is not None and card.updated_from is not None:
            say("\n".join(describe_update(card.updated_from, str(started_from.run.path))))
        if stage in ("preference", "all") and not run.has(PREFERENCE_FILES):
            say("stage 1: the preference model is trained on ratings")
            _train_preference(run, dataset, card, say, started_from)
        if stage in ("explainer", "all"):
            run.require(*PREFERENCE_FILES)
            if not run.has(EXPLAINER_FILES):
                say("stage 2: the language model learns to explain")
                _train_explainer(run, dataset, card, trust_remote_code, started_from)
        if is_main_process():
            _finish(run, dataset, card, stage)
    return summary(run)


def _check_card(
    run: RunDirectory,
    dataset: ReviewDataset,
    stage: Stage,
    trust_remote_code: bool,
    update: Path | None,
    card: RunCard,
) -> UpdateSource | None:
    """Check that the stages can be trained as the card says, and return the run that an update starts from.

    Raises:
        InputError: a stage cannot be trained so; says why in one line.
    """
    if trust_remote_code and card.base_model is None:
        raise ConfigError("--trust-remote-code is for a base model: name it with --base-model, or leave it out")
    started_from = None if run.has(finished_files(stage)) else UpdateSource.reopen(card, dataset, update)
    if started_from is not None:
        started_from.check(card, stage != "preference")
    _check_clusters(run, dataset, card)
    _check_explainer(run, dataset, card, stage, trust_remote_code)
    return started_from


def _finish(run: RunDirectory, dataset: ReviewDataset, card: RunCard, stage: Stage) -> None:
    """Delete what an interruption left of the training state, write the model card, and seal the run."""
    if stage != "preference" or not run.explainer_checkpoints.exists():
        run.discard_checkpoints()
    write_model_card(run, dataset.catalog, card)
    if not is_sealed(run.path):
        run.seal()


def _check_splits(dataset: ReviewDataset) -> None:
    """Raise `DataError` if there is nothing to train or to validate on; the message says why."""
    empty = [name for name, split in (("training", "train"), ("validation", "valid")) if not dataset.splits[split]]
    if not empty:
        return
    problem = f"{dataset.path} has no {empty[0]} reviews"
    catalog = dataset.catalog
    for side, counts in (("user", catalog.user_counts), ("item", catalog.item_counts)):
        if len(dataset) and int(counts.max(initial=0)) <= 1:
            raise DataError(
                f"{problem}: no {side} has two reviews, so all are for training; prepare more reviews of the same "
                f"{side}s, or name the splits in a column (--split column)"
            )
    raise DataError(f"{problem}; prepare the data with --split random, or with a column that names the splits")


def _check_clusters(run: RunDirectory, dataset: ReviewDataset, card: RunCard) -> None:
    """Raise `ConfigError` if stage 1 is still to be trained and there are fewer users than clusters of users."""
    config, users = card.settings.preference, dataset.catalog.n_users
    if run.has(PREFERENCE_FILES) or config.choose_clusters or config.text_kind or users >= config.clusters:
        return
    raise ConfigError(
        f"{config.clusters} clusters need at least as many users with training reviews, and {dataset.path} has "
        f"{users}; set preference.clusters={max(users, 1)} or lower"
    )


def _check_explainer(
    run: RunDirectory, dataset: ReviewDataset, card: RunCard, stage: Stage, trust_remote_code: bool
) -> None:
    """Raise `InputError` if stage 2 cannot be trained as the card says."""
    if stage == "preference":
        return
    config = card.settings
    if run.has(EXPLAINER_FILES) or card.updated_from is not None:  # base model and template are those of a run
        config.explainer.resolve_defaults(base=card.base_model is not None)
    else:
        build.check_settings(config.explainer, config.preference.clusters, card.base_model, trust_remote_code)
    if not run.has(EXPLAINER_FILES):
        for split in ("train", "valid"):
            _check_texts(dataset, split, run)


def summary(run: RunDirectory) -> dict[str, Any]:
    """Return the path of a run and the figures of each trained stage, as `gavamoe train --json` prints them."""
    records = run.read_training()
    result: dict[str, Any] = {"run": str(run.path)}
    if "preference" in records:
        best = best_record(records["preference"])
        result["preference"] = {key: best[key] for key in ("valid_rmse", "valid_nll", "valid_kl")}
        result["preference"]["live_clusters"] = records["preference"][-1]["live_clusters"]
    validated = [record for record in records.get("explainer", []) if "eval_loss" in record]
    if validated:
        trained = [record for record in validated if record["epoch"]]  # epoch 0 is where an update starts
        losses = [record["eval_loss"] for record in validated]
        result["explainer"] = {"epochs": len(trained), "valid_loss": min(losses)}
    return result


def _train_preference(
    run: RunDirectory,
    dataset: ReviewDataset,
    card: RunCard,
    say: Callable[[str], None],
    started_from: UpdateSource | None,
) -> None:
    """Train stage 1, anew or from the weights of another run, and save it in the run."""
    config = card.settings
    with main_process_first() as is_first:
        if is_first:  # the arrays of an interrupted training may be damaged, and nothing would notice
            remove_directory(run.interactions)
        arrays = dataset.mapped_arrays(run.interactions)
    preference, checkpoint, trainer = config.preference, run.preference_checkpoint, None
    arrays, target = read_texts(dataset, arrays, preference)
    vocabulary = len(target.units) if target else 0
    if started_from is None:
        preference = _with_chosen_clusters(run, dataset, arrays, config, vocabulary, say)
        model = untrained_model(dataset.catalog, preference, config.seed, vocabulary)
    else:
        model, trainer = started_from.preference_model(arrays["train"]), started_from.preference_trainer
        model = model.to(default_device())
    history = fit_preference(model, arrays["train"], arrays["valid"], preference, config.seed, checkpoint, trainer)
    with main_process_first() as is_first:
        if is_first:
            _record(run, "preference", history)
            with staged_directory(run.preference) as staged:
                model.text_target = target
                model.save_pretrained(staged)
            run.discard_checkpoints()


def _with_chosen_clusters(
    run: RunDirectory,
    dataset: ReviewDataset,
    arrays: dict[str, InteractionArrays],
    config: RunConfig,
    vocabulary: int,
    say: Callable[[str], None],
) -> PreferenceConfig:
    """Return the settings of stage 1 with the best number of clusters, if a criterion is to choose it.

    All candidates are recorded, for a resumed training.
    """
    criterion = config.preference.choose_clusters
    if criterion is None:
        return config.preference
    records = run.read_training().get("clusters")
    if records is None:

        def untrained(settings: PreferenceConfig) -> PreferenceModel:
            return untrained_model(dataset.catalog, settings, config.seed, vocabulary)

        splits = arrays["train"], arrays["valid"]
        tried = choose_clusters(*splits, config.preference, criterion, config.seed, untrained)
        records = [{"clusters": c.clusters, criterion: c.cost} for c in tried]
        with main_process_first() as is_first:
            if is_first:
                _record(run, "clusters", records)
    clusters = int(records[0]["clusters"])
    name = {"bic": "BIC", "elbo": "ELBO", "text": "likelihood of texts"}[criterion]
    say(f"{clusters} clusters by {name} among {' to '.join(map(str, config.preference.cluster_range))}")
    return config.preference.model_copy(update={"clusters": clusters})


def _train_explainer(
    run: RunDirectory,
    dataset: ReviewDataset,
    card: RunCard,
    trust_remote_code: bool,
    started_from: UpdateSource | None,
) -> None:
    """Train stage 2, anew or from the weights of another run, and save it in the run.

    Raises:
        InputError: stage 2 cannot be trained as the card says. Without a checkpoint nothing of it stays, so that it can
            be started with other settings.
    """
    try:
        trained = train_explainer(
            _reviews_with_text(dataset, "train"),
            _reviews_with_text(dataset, "valid"),
            dataset.catalog,
            load_preference(run),
            card.settings.explainer if started_from is None else explainer_settings(card),
            card.settings.seed,
            run.explainer_checkpoints,
            card.base_model,
            run.tensorboard,
            trust_remote_code,
            None if started_from is None else started_from.warm_explainer(),
        )
    except InputError:
        if is_main_process() and find_complete_checkpoint(run.explainer_checkpoints) is None:
            run.discard_checkpoints()
        raise
    if not is_main_process():
        return
    _record(run, "explainer", trained.records)
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
