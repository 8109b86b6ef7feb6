"""Callbacks of the Trainer: which checkpoints are kept, what is reported, and the progress bar."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback

from gavamoe.distributed import all_reduce_value, is_main_process, world_size
from gavamoe.errors import ConfigError
from gavamoe.explainer.checkpoints import PREFIX, keep_best_and_last, seal
from gavamoe.progress import Advance


def tensorboard_callbacks(directory: Path | None) -> list[TrainerCallback]:
    """Return the callback that writes losses for TensorBoard into a directory; none without one.

    Raises:
        ConfigError: tensorboard is not installed.
    """
    if directory is None:
        return []
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("explainer.tensorboard needs its package: pip install 'gavamoe[tensorboard]'")
    from torch.utils.tensorboard import SummaryWriter

    return [TensorBoardCallback(SummaryWriter(str(directory)))]


class KeepBestAndLast(TrainerCallback):
    """Deletes checkpoints that are neither the best nor the last; each is complete or absent at every moment."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Seal the new checkpoint, and keep the best and the last."""
        if state.is_world_process_zero:
            if world_size() == 1:  # other processes may still write their part of the checkpoint
                seal(Path(args.output_dir) / f"{PREFIX}{state.global_step}")
            keep_best_and_last(Path(args.output_dir), state)


class LogAtEpochEnd(TrainerCallback):
    """Ends the mean of logged losses with the epoch, so that it does not depend on where a training was interrupted."""

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Log the mean loss of the last steps of the epoch."""
        control.should_log = True


class SaveWithinEpoch(TrainerCallback):
    """Saves a checkpoint within an epoch that takes long, so that an interruption loses minutes and not hours.

    It saves only where the Trainer logs. The mean of logged losses begins anew there, so a resumed training logs the
    losses of an uninterrupted one.

    Args:
        seconds: between two checkpoints, at least.
        steps: of an epoch. The last one is left out: after the validation, the Trainer saves the whole epoch.
    """

    def __init__(self, seconds: float, steps: int):
        self.seconds, self.steps = seconds, steps
        self.saved_at = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for a checkpoint once the time has passed; the main process decides for all."""
        if control.should_log and state.global_step % self.steps:
            is_due = is_main_process() and time.monotonic() - self.saved_at >= self.seconds
            control.should_save |= all_reduce_value(float(is_due), args.device) > 0

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure the time from this checkpoint on."""
        self.saved_at = time.monotonic()


class OnValidation(TrainerCallback):
    """Reports each epoch's validation loss."""

    def __init__(self, report: Callable[[int, float], None]):
        self.report = report

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Report the validation loss of the epoch."""
        self.report(round(state.epoch or 0), float(metrics["eval_loss"]))


class StepCounter(TrainerCallback):
    """Counts the steps of one call of `train`."""

    steps = 0

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Count the step."""
        self.steps += 1


class ProgressBar(TrainerCallback):
    """Advances the progress bar with the Trainer's steps and shows the newest losses."""

    def __init__(self, advance: Advance):
        self.advance = advance

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Advance the bar."""
        self.advance(1, "")

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Show the newest loss."""
        record = state.log_history[-1] if state.log_history else {}
        for key in ("eval_loss", "loss"):
            if key in record:
                self.advance(0, f"{'validation' if key == 'eval_loss' else 'training'} loss {record[key]:.3f}")
