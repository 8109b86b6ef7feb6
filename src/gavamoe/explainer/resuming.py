"""Where an interrupted training of stage 2 goes on: at the newest checkpoint that is whole.

The Trainer writes a checkpoint file by file, trainer_state.json last. One without that was cut off by what ended the
training, and is deleted.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from transformers import TrainerState
from transformers.trainer_callback import TrainerControl
from transformers.trainer_utils import get_last_checkpoint

from gavamoe.runtime import leader_first

STATE = "trainer_state.json"


def newest_checkpoint(directory: Path) -> Path | None:
    """The newest whole checkpoint of `directory`, None without one; every process calls it."""
    with leader_first() as leading:
        if leading:
            for checkpoint in directory.glob("checkpoint-*"):
                if not _whole(checkpoint):
                    shutil.rmtree(checkpoint)
    last = get_last_checkpoint(str(directory)) if directory.is_dir() else None
    return Path(last) if last else None


def epochs_if_stopped(checkpoint: Path) -> int | None:
    """How many epochs were trained where training was over when `checkpoint` was written; None where it was not.

    The Trainer, resumed there, would forget that it had stopped early, and train one epoch more.
    """
    state = TrainerState.load_from_json(str(checkpoint / STATE))
    control = state.stateful_callbacks.get(TrainerControl.__name__, {})
    return round(state.epoch) if control.get("args", {}).get("should_training_stop") else None


def _whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
