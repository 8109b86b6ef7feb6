"""Training of stage 1: autoencoder, mixture fitted to its latents, the ELBO with beta warm-up, the mixture once more.

Each phase stops early on its validation objective and gives back its best weights. State is kept after every epoch, so
an interrupted training that is resumed ends with the same weights as one that was not.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gavamoe.checkpoint import load_state, save_state
from gavamoe.config import PreferenceConfig
from gavamoe.data.dataset import InteractionArrays
from gavamoe.distributed import (
    all_reduce_value,
    broadcast_model,
    is_main_process,
    rank,
    sum_gradients,
    use_bf16,
    world_size,
)
from gavamoe.errors import ConfigError
from gavamoe.preference.batches import Batch, Interactions
from gavamoe.preference.losses import KLWeights
from gavamoe.preference.mixture_fit import fit_components
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.svd_init import init_from_svd
from gavamoe.preference.validation import diagnose_collapse, validate
from gavamoe.progress import track

STEPS, SMALLEST_BATCH = 20, 32  # an epoch of few reviews takes that many steps: two or three would not move anything
SAMPLE = 5_000_000  # reviews that decide where training starts; it goes on from there with all of them


@dataclass
class TrainingState:
    """Where training stands; everything a resumed run needs besides weights, optimizers and random state."""

    phase: str = "pretrain"  # then "joint", then "done"
    epoch: int = 0  # epochs finished in this phase
    best: float = math.inf
    stale: int = 0  # epochs since the best
    history: list[dict[str, Any]] = field(default_factory=list)


def fit_preference(
    model: PreferenceModel,
    train: InteractionArrays,
    valid: InteractionArrays,
    config: PreferenceConfig,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> list[dict[str, Any]]:
    """Train `model` in place and return a record an epoch: phase, losses, RMSE in levels, live clusters, entropy.

    The last record, phase "mixture", is of the model as it is left.

    With `checkpoint`, the state is written there after every epoch, and found there, training goes on from it.
    The caller's random state is left as it was. A collapsed model is told of in the log. `ConfigError` when there is
    nothing to validate on or K is too large.
    """
    history = _train(model, train, valid, config, seed, checkpoint, until="done")
    complaint = diagnose_collapse(best_record(history), history[-1], model.clusters)
    if complaint and is_main_process():
        logging.getLogger(__name__).warning(complaint)
    return history


def pretrain(
    model: PreferenceModel, train: InteractionArrays, valid: InteractionArrays, config: PreferenceConfig, seed: int = 0
) -> None:
    """The first phase of `fit` alone: `model` as an autoencoder, its prior not yet of use."""
    _train(model, train, valid, config, seed, None, until="joint")


def best_record(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The record of the joint epoch whose weights were kept."""
    joint = [record for record in history if record["phase"] == "joint" and record["settled"]]
    return min(joint, key=lambda record: record["valid_objective"])


def _train(
    model: PreferenceModel,
    train: InteractionArrays,
    valid: InteractionArrays,
    config: PreferenceConfig,
    seed: int,
    checkpoint: Path | None,
    until: str,
) -> list[dict[str, Any]]:
    learned, checked = Interactions(train), Interactions(valid)
    if not len(learned) or not len(checked):
        raise ConfigError("stage 1 needs training and validation reviews; prepare the data with a validation split")
    # Explicitly off: Adagrad builds its sparse tensors from a gradient that is one already.
    with torch.random.fork_rng(), torch.sparse.check_sparse_tensor_invariants(enable=False):
        torch.manual_seed(seed)
        return PreferenceTrainer(model, learned, checked, config, seed, checkpoint).run(until)


class PreferenceTrainer:
    """One training: the pieces that every epoch shares. `fit` is the way in."""

    def __init__(
        self,
        model: PreferenceModel,
        train: Interactions,
        valid: Interactions,
        config: PreferenceConfig,
        seed: int,
        path: Path | None,
    ):
        self.model, self.train, self.valid, self.config, self.seed, self.path = model, train, valid, config, seed, path
        self.progress = TrainingState()
        self.shares = KLWeights.from_interactions(train, model.users, model.items, model.device)
        self.batch_size = min(config.batch_size, max(len(train) // STEPS, SMALLEST_BATCH))
        self.tables = [model.encoder.user.offset, model.encoder.item.offset]
        table_weights = {id(table.weight) for table in self.tables}
        self.networks = [p for p in model.parameters() if id(p) not in table_weights]
        self.begun = path is not None and path.exists()
        if not self.begun:
            init_from_svd(model, train.sample(SAMPLE), seed)
            broadcast_model(model)
        self.best_weights = _copy(model)
        self._new_optimizers()

    def run(self, until: str) -> list[dict[str, Any]]:
        """Train on to the phase `until` and return the records."""
        if self.begun and self.path is not None:
            self._restore(load_state(self.path))
        limits = {"pretrain": self.config.pretrain_epochs, "joint": self.config.epochs}
        with track("preference model", sum(limits.values())) as advance:
            while self.progress.phase not in (until, "done"):
                record = self._epoch()
                if self.progress.epoch >= limits[self.progress.phase] or self.progress.stale >= self.config.patience:
                    advance(limits[self.progress.phase] - self.progress.epoch, "")
                    self._next_phase()
                if self.path is not None and is_main_process():
                    save_state(self.path, self._state())
                advance(1, f"validation RMSE {record['valid_rmse']:.3f}")
        return self.progress.history

    def _epoch(self) -> dict[str, Any]:
        progress, beta = self.progress, self._beta()
        train_loss = self._train_epoch(beta)
        progress.epoch += 1
        # While beta still rises, the objective is not yet the one that is meant.
        warmup = min(self.config.warmup_epochs, self.config.epochs)
        at_full_beta = progress.phase == "pretrain" or progress.epoch >= warmup
        record: dict[str, Any] = {
            "phase": progress.phase,
            "epoch": progress.epoch,
            "beta": beta,
            "settled": at_full_beta,
            "train_loss": train_loss,
        }
        record |= validate(self.model, self.valid, self.shares)
        objective = record["valid_nll"] + (self.config.beta * record["valid_kl"] if progress.phase == "joint" else 0.0)
        record["valid_objective"] = objective
        progress.history.append(record)
        if at_full_beta and objective < progress.best:
            progress.best, progress.stale, self.best_weights = objective, 0, _copy(self.model)
        elif at_full_beta:
            progress.stale += 1
        return record

    def _train_epoch(self, beta: float) -> float:
        self.model.train()
        total = 0.0
        for batch in self.train.shuffled(self.batch_size):
            total += self.step(batch.drop_ids(self.config.id_dropout), beta)
        return all_reduce_value(total, self.model.device) / len(self.train)

    def step(self, batch: Batch, beta: float) -> float:
        """Learn from this process's part of a batch, and return the part's summed loss."""
        eps_BD = torch.randn(len(batch), self.model.prior.mean_KD.shape[1])[rank() :: world_size()]
        shard, eps_BD = batch.shard(rank(), world_size()).to(self.model.device), eps_BD.to(self.model.device)
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=use_bf16(self.config.precision)):
            if self.progress.phase == "pretrain":
                loss_B = self.model.autoencoder_nll(shard.user_B, shard.item_B, shard.level_B)
            else:
                losses = self.model.elbo_losses(shard.user_B, shard.item_B, shard.level_B, eps_BD)
                loss_B = losses.nll + beta * self.shares.kl(losses, shard)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        (loss_B.sum() / len(batch)).backward()
        sum_gradients(self.networks, self.tables)
        for optimizer in self.optimizers:
            optimizer.step()
        return float(loss_B.detach().sum())

    def _beta(self) -> float:
        if self.progress.phase == "pretrain":
            return 0.0
        return self.config.beta * min(1.0, (self.progress.epoch + 1) / max(self.config.warmup_epochs, 1))

    def _next_phase(self) -> None:
        self.model.load_state_dict(self.best_weights)
        progress = self.progress
        counts_U, _ = self.train.counts(self.model.users, self.model.items)
        fit_components(self.model, counts_U, self.train.sample(SAMPLE), self.config.restarts, self.seed)
        broadcast_model(self.model)
        if progress.phase == "pretrain":
            progress.phase, progress.epoch, progress.best, progress.stale = "joint", 0, math.inf, 0
            self.best_weights = _copy(self.model)
            self._new_optimizers()
        else:
            progress.phase = "done"
            progress.history.append({"phase": "mixture", **validate(self.model, self.valid, self.shares)})

    def _new_optimizers(self) -> None:
        rate = self.config.learning_rate
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(self.networks, lr=rate, weight_decay=self.config.weight_decay),
            torch.optim.Adagrad([table.weight for table in self.tables], lr=self.config.embedding_learning_rate),
        ]

    def _state(self) -> dict[str, Any]:
        return {
            "progress": asdict(self.progress),
            "weights": self.model.state_dict(),
            "best_weights": self.best_weights,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "random": torch.get_rng_state(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.progress = TrainingState(**state["progress"])
        self.model.load_state_dict(state["weights"])
        self.best_weights = state["best_weights"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["random"])


def _copy(model: PreferenceModel) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
