"""Checkpoints of an unfinished training of stage 2: which one to resume from, and whether training was over there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from transformers import TrainerControl, TrainerState
from transformers.trainer_utils import get_last_checkpoint

from gavamoe.distributed import main_process_first

STATE = "trainer_state.json"  # the Trainer writes it last, so a checkpoint with a readable state is complete


def latest_complete_checkpoint(directory: Path) -> Path | None:
    """Return the newest complete checkpoint in `directory`, or None; every process must call it.

    Checkpoints that an interruption cut off are deleted.
    """
    with main_process_first() as is_first:
        if is_first:
            for checkpoint in directory.glob("checkpoint-*"):
                if not _is_complete(checkpoint):
                    shutil.rmtree(checkpoint)
    last = get_last_checkpoint(str(directory)) if directory.is_dir() else None
    return Path(last) if last else None


def epochs_if_early_stopped(checkpoint: Path) -> int | None:
    """Return how many epochs were trained if early stopping had ended training at `checkpoint`, else None.

    A resumed Trainer forgets that it had stopped early and would train one more epoch.
    """
    state = TrainerState.load_from_json(str(checkpoint / STATE))
    control = state.stateful_callbacks.get(TrainerControl.__name__, {})
    return round(state.epoch) if control.get("args", {}).get("should_training_stop") else None


def _is_complete(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
