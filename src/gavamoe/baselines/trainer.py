"""The training loop of every text system: phases of AdamW with early stopping; each ends with its best weights.

    phase    choose trainable parameters, AdamW with warm-up and cosine decay, gradient clipping
    epoch    train, validate, update the best weights, save the state

Batches, number of epochs, patience, warm-up and weight decay are GaVaMoE's; each system has its own learning rates.
The state is saved after every epoch, and the randomness of an epoch depends on seed, phase and epoch alone. A resumed
training therefore ends with the same weights as an uninterrupted one.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gavamoe.baselines.data import Vocabulary
from gavamoe.baselines.text_model import Phase, TextModel
from gavamoe.checkpoint import TrainingProgress, copy_tensors, load_state, save_state
from gavamoe.errors import DivergenceError
from gavamoe.progress import track

VALIDATION_BATCH = 128
CLIP = 1.0


def train(model: TextModel, vocabulary: Vocabulary, seed: int, name: str, checkpoint: Path) -> list[dict[str, Any]]:
    """Train `model` in place, phase by phase; resume if `checkpoint` exists.

    Args:
        model: an untrained network.
        vocabulary: holds the training and validation reviews.
        seed: of batches and dropout.
        name: label of the progress bar.
        checkpoint: file for the state of the training; the caller deletes it afterwards.

    Returns:
        One record per epoch: phase, epoch, loss (training objective), valid_objective, valid_text (nats per token),
        tokens, train_seconds and seconds.
    """
    with torch.random.fork_rng():
        return _Trainer(model, vocabulary, seed, checkpoint).run(name)


class _Trainer:
    """One training: what all of its epochs share."""

    def __init__(self, model: TextModel, vocabulary: Vocabulary, seed: int, checkpoint: Path):
        self.model, self.vocabulary, self.seed, self.checkpoint = model, vocabulary, seed, checkpoint
        self.config = vocabulary.data.config
        self.device = next(model.parameters()).device
        self.progress = TrainingProgress(phase=0)
        self.steps = -(-len(vocabulary.train) // self.config.batch_size)
        self._start_phase()

    def run(self, name: str) -> list[dict[str, Any]]:
        """Train all phases that are not finished."""
        phases, progress = self.model.phases, self.progress
        if self.checkpoint.is_file():
            self._restore(load_state(self.checkpoint))
            progress = self.progress
        with track(name, len(phases) * self.config.epochs) as advance:
            while progress.phase < len(phases):
                record = self._run_epoch(phases[progress.phase])
                advance(1, f"{record['phase']}, validation loss {record['valid_text']:.3f}")
                if progress.phase_is_over(self.config.epochs, self.config.patience):
                    self._end_phase()
                save_state(self.checkpoint, self._state())
        return progress.history

    def _start_phase(self) -> None:
        phase = self.model.phases[self.progress.phase]
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(phase.trains(name))
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": self.config.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=phase.learning_rate)
        self.best = copy_tensors(self.model.saved_tensors())

    def _run_epoch(self, phase: Phase) -> dict[str, Any]:
        progress, started = self.progress, time.perf_counter()
        torch.manual_seed(int(np.random.SeedSequence((self.seed, progress.phase, progress.epoch)).generate_state(1)[0]))
        total, tokens = self._train_epoch(phase)
        trained = time.perf_counter()
        objective, text = self._validate(phase)
        self._check_finite(objective, "the validation loss")
        progress.epoch += 1
        if progress.improves(objective):
            self.best = copy_tensors(self.model.saved_tensors())
        record = {
            "phase": phase.name,
            "epoch": progress.epoch,
            "loss": total,
            "valid_objective": objective,
            "valid_text": text,
            "tokens": tokens,
            "train_seconds": trained - started,
            "seconds": time.perf_counter() - started,
        }
        progress.history.append(record)
        return record

    def _train_epoch(self, phase: Phase) -> tuple[float, int]:
        """Return the mean objective over the steps, and the number of scored tokens."""
        self.model.train()
        total, tokens, step = 0.0, 0, self.progress.epoch * self.steps
        epoch = self.progress.phase * self.config.epochs + self.progress.epoch
        for batch in self.vocabulary.training_batches(self.seed, epoch):
            self._set_learning_rate(phase, step)
            losses = self.model.losses(batch.to(self.device), phase.name)
            objective = losses.text + losses.auxiliary
            self.optimizer.zero_grad(set_to_none=True)
            objective.backward()
            torch.nn.utils.clip_grad_norm_(
                [p for p in self.model.parameters() if p.requires_grad], CLIP, error_if_nonfinite=False
            )
            self.optimizer.step()
            self._check_finite(loss := float(objective.detach()), f"the loss of step {step + 1}")
            total, tokens, step = total + loss, tokens + losses.tokens, step + 1
        return total / self.steps, tokens

    def _set_learning_rate(self, phase: Phase, step: int) -> None:
        all_steps = self.steps * self.config.epochs
        warmup = max(1, math.ceil(self.config.warmup_ratio * all_steps))
        rate = (
            (step + 1) / warmup
            if step < warmup
            else 0.5 * (1 + math.cos(math.pi * (step - warmup) / (all_steps - warmup)))
        )
        for group in self.optimizer.param_groups:
            group["lr"] = phase.learning_rate * rate

    def _check_finite(self, loss: float, what: str) -> None:
        """Raise `DivergenceError` if a loss is not a finite number, before the state is saved."""
        if not math.isfinite(loss):
            phase = self.model.phases[self.progress.phase].name
            raise DivergenceError(
                f"the training in {self.checkpoint.parent} diverged: {what} in epoch {self.progress.epoch + 1} of the "
                f"phase {phase} is {loss}; the checkpoint of the epoch before is kept if there was one; give the "
                "system a lower learning rate"
            )

    @torch.inference_mode()
    def _validate(self, phase: Phase) -> tuple[float, float]:
        """Return the objective and the text loss in nats per token over the validation reviews."""
        self.model.eval()
        rows = self.vocabulary.valid
        order = np.argsort([len(text) for text in rows.texts], kind="stable")
        objective, text, tokens, count = 0.0, 0.0, 0, 0
        for start in range(0, len(order), VALIDATION_BATCH):
            batch = self.vocabulary.batch(rows, order[start : start + VALIDATION_BATCH])
            losses = self.model.losses(batch.to(self.device), phase.name)
            text, tokens = text + float(losses.text) * losses.tokens, tokens + losses.tokens
            objective, count = objective + float(losses.auxiliary) * len(batch), count + len(batch)
        return text / tokens + objective / count, text / tokens

    def _end_phase(self) -> None:
        self._load(self.best)
        self.progress.start_phase(self.progress.phase + 1)
        if self.progress.phase < len(self.model.phases):
            self._start_phase()

    def _state(self) -> dict[str, Any]:
        optimizer = self.optimizer.state_dict() if self.progress.phase < len(self.model.phases) else {}
        return {
            "progress": asdict(self.progress),
            "weights": copy_tensors(self.model.saved_tensors()),
            "best": self.best,
            "optimizer": optimizer,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.progress = TrainingProgress(**state["progress"])
        self._load(state["weights"])
        if self.progress.phase < len(self.model.phases):
            self._start_phase()
            self.optimizer.load_state_dict(state["optimizer"])
        self.best = state["best"]

    def _load(self, weights: dict[str, Tensor]) -> None:
        self.model.load_state_dict(weights, strict=False)
