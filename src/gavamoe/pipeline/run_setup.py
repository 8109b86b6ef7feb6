"""Opening a run directory to train in it: a new one, one to resume, or one that lacks a stage; no other."""

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
    asked: RunCard,
    stage: Stage,
    resume: bool,
    check: Callable[[RunCard], None] = lambda card: None,
) -> Iterator[RunCard]:
    """Yield the card that holds for this training, with run.yaml and catalog/ in place; only the leader writes.

    check: raises `InputError` where the card asks for what cannot be; a run that is there is then left as it was.

    A new run that turns out to be impossible (`InputError` before anything was trained) leaves nothing behind.
    """
    with main_process_first() as leading:
        new = leading and not (run.path.exists() and (run.path.is_file() or any(run.path.iterdir())))
        if new:
            card = _new(run, dataset, asked, resume)
        elif leading:
            card = _existing(run, dataset, asked, stage, resume, check)
        else:
            card = run.read_card()
    try:
        yield card
    except InputError:
        if new and not run.has(PREFERENCE_FILES):
            shutil.rmtree(run.path)
        raise


def _new(run: RunDirectory, dataset: ReviewDataset, asked: RunCard, resume: bool) -> RunCard:
    if resume:
        raise RunError(f"there is no run at {run.path} to resume; leave out --resume")
    card = asked if asked.config is not None else replace(asked, config=load_config(asked.preset))
    run.path.mkdir(parents=True, exist_ok=True)
    run.write_card(card)
    dataset.catalog.save(run.catalog)
    return card


def _existing(
    run: RunDirectory,
    dataset: ReviewDataset,
    asked: RunCard,
    stage: Stage,
    resume: bool,
    check: Callable[[RunCard], None],
) -> RunCard:
    if run.path.is_file():
        raise RunError(f"{run.path} is a file; choose another --out")
    adds_stage = stage == "explainer" and run.has(PREFERENCE_FILES) and not run.has(EXPLAINER_FILES)
    if not (resume or adds_stage):
        raise RunError(f"{run.path} already holds files; continue it with --resume, or choose another --out")
    kept = run.read_card()
    _check_same_data(run, dataset)
    if resume:
        _check_same_settings(run, kept, asked)
        return kept
    if run.checkpoints.exists():
        raise RunError(f"{run.path} holds an unfinished training; go on with --resume, or choose another --out")
    # The stage to come may be configured anew; the one that is done may not.
    config = (asked.config or kept.settings).model_copy(update={"preference": kept.settings.preference})
    preset = kept.preset if asked.config is None else asked.preset
    card = replace(kept, preset=preset, base_model=asked.base_model or kept.base_model, config=config)
    check(card)  # before anything is written
    run.write_card(card)
    return card


def _check_same_data(run: RunDirectory, dataset: ReviewDataset) -> None:
    """Ids must mean what they meant when the run was begun."""
    if not run.has(CATALOG_FILES):  # interrupted before it was written
        dataset.catalog.save(run.catalog)
        return
    if not Catalog.load(run.catalog).same_data_as(dataset.catalog):
        raise RunError(f"{dataset.path} is not the data that {run.path} was begun on; choose another --out for it")


def _check_same_settings(run: RunDirectory, kept: RunCard, asked: RunCard) -> None:
    differing: list[str] = []
    if asked.config is not None:
        begun, now = (_flat(config.model_dump()) for config in (kept.settings, asked.config))
        differing = [key for key in sorted(begun) if now[key] != begun[key]]
    if asked.base_model != kept.base_model and (asked.config or asked.base_model):
        differing.insert(0, "base model")
    if differing:
        raise ConfigError(
            f"{run.path} was begun with another {differing[0]}; --resume goes on as it was begun: "
            "leave the setting out, or choose another --out"
        )


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
