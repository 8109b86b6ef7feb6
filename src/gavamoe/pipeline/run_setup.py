"""`open_run`: open a run directory for training and settle the settings that apply.

directory is new or empty       -> create it with run.yaml and catalog/
--resume                        -> keep its settings; data and settings must be those that it was started with
stage 2 is added to stage 1     -> keep stage 1's settings; stage 2 may be configured again
anything else                   -> `RunError`: finished work is never overwritten
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any, Literal

from gavamoe.config import load_config
from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import ReviewDataset
from gavamoe.distributed import main_process_first
from gavamoe.errors import ConfigError, InputError, RunError
from gavamoe.files import is_temporary, make_directory, only_one_process, remove_abandoned, remove_directory
from gavamoe.run import CATALOG_FILES, EXPLAINER_FILES, PREFERENCE_FILES, RunCard, RunDirectory
from gavamoe.seal import is_sealed

Stage = Literal["preference", "explainer", "all"]


def finished_files(stage: Stage) -> tuple[str, ...]:
    """Return the files of a run in which the requested stages are finished."""
    return PREFERENCE_FILES if stage == "preference" else (*PREFERENCE_FILES, *EXPLAINER_FILES)


@contextmanager
def open_run(
    run: RunDirectory,
    dataset: ReviewDataset,
    requested: RunCard,
    stage: Stage,
    resume: bool,
    check: Callable[[RunCard], object] = lambda card: None,
) -> Iterator[RunCard]:
    """Open a run for training and yield its card, with run.yaml and catalog/ in place.

    Only the main process writes; it holds the run's lock. A new run is removed if the block raises `InputError` before
    stage 1 has a checkpoint.

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
        RunError: the directory cannot be trained in (see the module's docstring), or another process trains in it.
        ConfigError: a setting differs from the run to resume.
    """
    with ExitStack() as stack:
        with main_process_first() as is_main:
            is_new = is_main and _is_new(run)
            if is_new and resume and not run.path.exists():
                raise RunError(f"there is no run at {run.path} to resume; leave out --resume")
            if is_new:
                make_directory(run.path)
                stack.callback(_remove_if_empty, run)  # after the lock is released
            if is_main:
                stack.enter_context(only_one_process(run.path, "training in"))
                remove_abandoned(run.path)
            if is_new:
                card = _create(run, dataset, requested, resume)
            elif is_main:
                card = _reopen(run, dataset, requested, stage, resume, check)
            else:
                card = run.read_card()
        try:
            yield card
        except InputError:
            if is_new and not run.has(PREFERENCE_FILES) and not run.preference_checkpoint.exists():
                _discard(run)
            raise


def _is_new(run: RunDirectory) -> bool:
    """Return whether a run is still to be made: its directory is absent, or holds no file of a run or of others."""
    if run.path.exists() and not run.path.is_dir():
        raise RunError(f"{run.path} is a file; choose another --out")
    return not run.path.exists() or all(is_temporary(path) for path in run.path.iterdir())


def _discard(run: RunDirectory) -> None:
    """Delete what was written into a new run before stage 1 was trained."""
    for file in (run.training, run.card):
        file.unlink(missing_ok=True)
    for directory in (run.checkpoints, run.catalog):
        remove_directory(directory)


def _remove_if_empty(run: RunDirectory) -> None:
    with suppress(OSError):
        run.path.rmdir()


def _create(run: RunDirectory, dataset: ReviewDataset, requested: RunCard, resume: bool) -> RunCard:
    """Write run.yaml and catalog/ of a new run and return its card."""
    if resume and requested.config is None:
        raise RunError(f"there is no run at {run.path} to resume; leave out --resume, and give the settings again")
    card = requested if requested.config is not None else replace(requested, config=load_config(requested.preset))
    run.write_card(card)
    dataset.catalog.save(run.catalog)
    return card


def _reopen(
    run: RunDirectory,
    dataset: ReviewDataset,
    requested: RunCard,
    stage: Stage,
    resume: bool,
    check: Callable[[RunCard], object],
) -> RunCard:
    """Return the card of an existing run to resume, or to which stage 2 is added."""
    adds_stage = stage == "explainer" and run.has(PREFERENCE_FILES) and not run.has(EXPLAINER_FILES)
    if not (resume or adds_stage):
        raise RunError(f"{run.path} already holds files; continue it with --resume, or choose another --out")
    if is_sealed(run.path):
        run.check_seal()
    kept = run.read_card()
    _check_same_data(run, dataset)
    if resume:
        _check_same_settings(run, kept, requested)
        if not run.has(finished_files(stage)):
            run.break_seal()
        return kept
    if run.checkpoints.exists():
        raise RunError(f"{run.path} holds an unfinished training; continue it with --resume, or choose another --out")
    # Stage 2, which is still to be trained, may be configured again; stage 1, which is finished, may not.
    config = (requested.config or kept.settings).model_copy(update={"preference": kept.settings.preference})
    preset = kept.preset if requested.config is None else requested.preset
    card = replace(kept, preset=preset, base_model=requested.base_model or kept.base_model, config=config)
    check(card)  # before anything is written
    run.break_seal()
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
