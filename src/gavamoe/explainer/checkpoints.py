"""Checkpoints of an unfinished training of stage 2: which one to resume from, whether training was over there, and the
precision it began with.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePath

from transformers import TrainerControl, TrainerState

from gavamoe.config import ExplainerConfig
from gavamoe.distributed import is_main_process, main_process_first, use_bf16
from gavamoe.errors import RunError
from gavamoe.files import reading, remove_directory, write_json
from gavamoe.seal import MANIFEST, check_seal, is_sealed, write_seal

SHARDED = "pytorch_model_fsdp.bin"  # accelerate writes it in a training that FSDP divides
STATE = "trainer_state.json"  # the Trainer writes it last, so a checkpoint with a readable state is complete
PREFIX = "checkpoint-"
PRECISION = "precision.json"


def find_complete_checkpoint(directory: Path) -> Path | None:
    """Return the newest complete checkpoint in `directory`, or None, without checking or changing a file."""
    return next((path for path in reversed(_checkpoints(directory)) if _is_complete(path)), None)


def latest_complete_checkpoint(directory: Path) -> Path | None:
    """Return the newest complete checkpoint in `directory`, ready to resume from, or None; every process must call it.

    Checkpoints that an interruption cut off are deleted. The state of the newest one then names the best checkpoint
    where it is now, because a run may have been moved since.

    Raises:
        RunError: a file of the newest checkpoint is damaged, or the best checkpoint is gone, so that training cannot
            end with the best weights.
    """
    with main_process_first() as is_first:
        last = find_complete_checkpoint(directory)
        if is_first:
            for checkpoint in _checkpoints(directory):
                if not _is_complete(checkpoint):
                    remove_directory(checkpoint)
            if last is not None:
                _check(last)
                _find_best_again(last)
    return last


def keep_precision(config: ExplainerConfig, width: int, directory: Path) -> ExplainerConfig:
    """Return the settings with a precision instead of `auto`: that of the interrupted training, or this machine's.

    Args:
        config: settings of stage 2.
        width: H of a model around a frozen base, else 0 (`use_bf16`).
        directory: folder of the training state, which keeps the precision: a training that another machine continues
            does not change it.
    """
    file = directory / PRECISION
    if file.is_file():
        with reading(file):
            precision = {"fp32": "fp32", "bf16": "bf16"}[json.loads(file.read_text(encoding="utf-8"))]
    else:
        precision = "bf16" if use_bf16(config.precision, width) else "fp32"
        if is_main_process():
            directory.mkdir(parents=True, exist_ok=True)
            write_json(file, precision)
    return config.model_copy(update={"precision": precision})


def check_sharding(checkpoint: Path, is_sharded: bool) -> None:
    """Check that a training may resume from a checkpoint.

    Args:
        checkpoint: a complete checkpoint.
        is_sharded: whether this training divides the model among processes (FSDP).

    Raises:
        RunError: only one of the two trainings is sharded: the files of their optimizers differ.
    """
    if (checkpoint / SHARDED).exists() != is_sharded:
        was, now = ("without", "with") if is_sharded else ("with", "without")
        raise RunError(
            f"stage 2 was begun {was} FSDP and cannot be resumed {now} it; resume it as it was begun, with any number "
            f"of processes, or delete {checkpoint.parent} to start stage 2 anew"
        )


def seal(checkpoint: Path) -> None:
    """Write the manifest of a complete checkpoint, so that damage is found before a training resumes from it."""
    write_seal(checkpoint, [path for path in checkpoint.iterdir() if path.is_file() and path.name != MANIFEST])


def _check(checkpoint: Path) -> None:
    """Raise `RunError` if a file of a sealed checkpoint is damaged; one without a seal was cut off before it."""
    if is_sealed(checkpoint):
        check_seal(checkpoint, [])


def keep_best_and_last(directory: Path, state: TrainerState) -> None:
    """Delete all checkpoints but the last and the best one."""
    kept = {f"{PREFIX}{step}" for step in (state.global_step, state.best_global_step)}
    for checkpoint in _checkpoints(directory):
        if checkpoint.name not in kept:
            remove_directory(checkpoint)


def epochs_if_early_stopped(checkpoint: Path) -> int | None:
    """Return how many epochs were trained if early stopping had ended training at `checkpoint`, else None.

    A resumed Trainer forgets that it had stopped early and would train one more epoch.
    """
    state = TrainerState.load_from_json(str(checkpoint / STATE))
    control = state.stateful_callbacks.get(TrainerControl.__name__, {})
    return round(state.epoch) if control.get("args", {}).get("should_training_stop") else None


def _checkpoints(directory: Path) -> list[Path]:
    """Return all checkpoints in the order of their steps, complete or not."""
    found = directory.iterdir() if directory.is_dir() else ()
    steps = {path: path.name.removeprefix(PREFIX) for path in found if path.name.startswith(PREFIX)}
    return sorted((path for path, step in steps.items() if step.isdecimal()), key=lambda path: int(steps[path]))


def _is_complete(checkpoint: Path) -> bool:
    try:
        return isinstance(json.loads((checkpoint / STATE).read_text(encoding="utf-8")), dict)
    except (OSError, ValueError):
        return False


def _find_best_again(checkpoint: Path) -> None:
    """Write into the state of a checkpoint where the best checkpoint is now: beside it, under the same name."""
    state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    if not state.get("best_model_checkpoint"):
        return
    best = checkpoint.parent / PurePath(state["best_model_checkpoint"].replace("\\", "/")).name
    if best != checkpoint:
        _check(best)
    if not _is_complete(best):
        raise RunError(
            f"the checkpoint with the best weights, {best}, is missing; delete {checkpoint.parent} to start stage 2 "
            "anew"
        )
    if state["best_model_checkpoint"] != str(best):
        was_sealed = is_sealed(checkpoint)
        (checkpoint / MANIFEST).unlink(missing_ok=True)
        write_json(checkpoint / STATE, {**state, "best_model_checkpoint": str(best)})
        if was_sealed:
            seal(checkpoint)
