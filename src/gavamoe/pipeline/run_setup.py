"""`open_run`: open a run directory for training and settle the settings that apply.

directory is new or empty       -> create it with run.yaml and catalog/
--resume                        -> keep its settings; data and settings must be those that it was started with
stage 2 is added to stage 1     -> keep stage 1's settings; stage 2 may be configured again
anything else                   -> `RunError`: finished work is never overwritten
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

from gavamoe.config import load_config
from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import ReviewDataset
from gavamoe.distributed import main_process_first
from gavamoe.errors import ConfigError, InputError, RunError
from gavamoe.run import CATALOG_FILES, EXPLAINER_FILES, PREFERENCE_FILES, RunCard, RunDirectory

Stage = Literal["preference", "explainer", "all"]


@contextmanager
def open_run(
    run: RunDirectory,
    dataset: ReviewDataset,
    requested: RunCard,
    stage: Stage,
    resume: bool,
    check: Callable[[RunCard], None] = lambda card: None,
) -> Iterator[RunCard]:
    """Open a run for training and yield its card, with run.yaml and catalog/ in place.

    Only the main process writes. A new run is removed if the block raises `InputError` before stage 1 is finished.

    Args:
        run: the run directory.
        dataset: the prepared dataset to train on.
        requested: the card with the settings of this call; its config is None if no setting was given.
        stage: the stages to train.
        resume: whether to continue an interrupted training.
        check: raises `InputError` if the settings are impossible; an existing run is then left unchanged.

    Yields:
        The card with the settings that apply.

    Raises:
        RunError: the directory cannot be trained in: see the module's docstring.
        ConfigError: a setting differs from the run to resume.
    """
    with main_process_first() as is_main:
        is_new = is_main and not (run.path.exists() and (run.path.is_file() or any(run.path.iterdir())))
        if is_new:
            card = _create(run, dataset, requested, resume)
        elif is_main:
            card = _reopen(run, dataset, requested, stage, resume, check)
        else:
            card = run.read_card()
    try:
        yield card
    except InputError:
        if is_new and not run.has(PREFERENCE_FILES):
            shutil.rmtree(run.path)
        raise


def _create(run: RunDirectory, dataset: ReviewDataset, requested: RunCard, resume: bool) -> RunCard:
    """Write run.yaml and catalog/ of a new run and return its card."""
    if resume:
        raise RunError(f"there is no run at {run.path} to resume; leave out --resume")
    card = requested if requested.config is not None else replace(requested, config=load_config(requested.preset))
    run.path.mkdir(parents=True, exist_ok=True)
    run.write_card(card)
    dataset.catalog.save(run.catalog)
    return card


def _reopen(
    run: RunDirectory,
    dataset: ReviewDataset,
    requested: RunCard,
    stage: Stage,
    resume: bool,
    check: Callable[[RunCard], None],
) -> RunCard:
    """Return the card of an existing run to resume, or to which stage 2 is added."""
    if run.path.is_file():
        raise RunError(f"{run.path} is a file; choose another --out")
    adds_stage = stage == "explainer" and run.has(PREFERENCE_FILES) and not run.has(EXPLAINER_FILES)
    if not (resume or adds_stage):
        raise RunError(f"{run.path} already holds files; continue it with --resume, or choose another --out")
    kept = run.read_card()
    _check_same_data(run, dataset)
    if resume:
        _check_same_settings(run, kept, requested)
        return kept
    if run.checkpoints.exists():
        raise RunError(f"{run.path} holds an unfinished training; continue it with --resume, or choose another --out")
    # Stage 2, which is still to be trained, may be configured again; stage 1, which is finished, may not.
    config = (requested.config or kept.settings).model_copy(update={"preference": kept.settings.preference})
    preset = kept.preset if requested.config is None else requested.preset
    card = replace(kept, preset=preset, base_model=requested.base_model or kept.base_model, config=config)
    check(card)  # before anything is written
    run.write_card(card)
    return card


def _check_same_data(run: RunDirectory, dataset: ReviewDataset) -> None:
    """Raise `RunError` unless user and item ids are those of the run's catalog."""
    if not run.has(CATALOG_FILES):  # interrupted before it was written
        dataset.catalog.save(run.catalog)
        return
    if not Catalog.load(run.catalog).same_data_as(dataset.catalog):
        raise RunError(f"{dataset.path} is not the data that {run.path} was started with; choose another --out for it")


def _check_same_settings(run: RunDirectory, kept: RunCard, requested: RunCard) -> None:
    """Raise `ConfigError` if a requested setting differs from the run's."""
    differing: list[str] = []
    if requested.config is not None:
        kept_settings, new_settings = (_flat(config.model_dump()) for config in (kept.settings, requested.config))
        # A setting whose default depends on the base model equals that default, written out or not.
        base = kept.base_model is not None
        kept_used, new_used = (
            _flat({"explainer": config.explainer.resolve_defaults(base).model_dump()})
            for config in (kept.settings, requested.config)
        )
        kept_settings, new_settings = kept_settings | kept_used, new_settings | new_used
        differing = [key for key in sorted(kept_settings) if new_settings[key] != kept_settings[key]]
    if requested.base_model != kept.base_model and (requested.config or requested.base_model):
        differing.insert(0, "base model")
    if differing:
        raise ConfigError(
            f"{run.path} was started with another {differing[0]}; --resume keeps the settings of the run: "
            "leave the setting out, or choose another --out"
        )


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings to dotted keys, such as "explainer.experts"."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
