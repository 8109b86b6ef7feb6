"""Train stage 1: SVD start, autoencoder, mixture fit, ELBO with beta warm-up, mixture fit.

    init_from_svd -> phase "pretrain" -> fit_components -> phase "joint" -> fit_components -> "done"
                     z = mu, no prior                      ELBO, beta rises

A text block, if the model has one, is trained before (`text_trainer`).

Each phase stops early on its validation objective and restores its best weights. The state is saved after every epoch,
so an interrupted training that is resumed ends with the same weights, to the bit, as one without interruption.

Shape suffixes: B batch, D latent, U users + 1.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gavamoe.checkpoint import load_state, save_state
from gavamoe.config import PreferenceConfig
from gavamoe.data.dataset import InteractionArrays
from gavamoe.distributed import (
    all_reduce_value,
    broadcast_model,
    is_main_process,
    rank,
    use_bf16,
    world_size,
)
from gavamoe.errors import ConfigError, DivergenceError
from gavamoe.preference.batches import Batch, Interactions
from gavamoe.preference.epoch_trainer import EpochTrainer
from gavamoe.preference.losses import KLWeights
from gavamoe.preference.mixture_fit import fit_components
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.svd_init import init_from_svd
from gavamoe.preference.text_trainer import fit_text_block
from gavamoe.preference.validation import diagnose_collapse, validate
from gavamoe.progress import track

# With few reviews the batch shrinks, down to MIN_BATCH, so that an epoch takes MIN_STEPS steps: two or three steps
# would change little.
MIN_STEPS, MIN_BATCH = 20, 32
INIT_REVIEWS = 5_000_000  # largest number of reviews for the SVD and the mixture fits; training uses all reviews


def fit_preference(
    model: PreferenceModel,
    train: InteractionArrays,
    valid: InteractionArrays,
    config: PreferenceConfig,
    seed: int = 0,
    checkpoint: Path | None = None,
    trainer: Callable[..., PreferenceTrainer] | None = None,
) -> list[dict[str, Any]]:
    """Train a model in place. The caller's random state does not change. A collapsed model is reported in the log.

    Args:
        model: an untrained model of the sizes in `config`.
        train: training interactions.
        valid: validation interactions, for early stopping.
        config: settings of stage 1.
        seed: of every random draw.
        checkpoint: file where the state is saved after every epoch. If it exists, training resumes from it.
        trainer: makes the training from the arguments of `PreferenceTrainer`; None is that class. An update has
            another (`gavamoe.preference.update`).

    Returns:
        One record per epoch: phase, epoch, beta, losses in nats, and the metrics of `validate`. The last record has
        the phase "mixture": the metrics of the finished model. The records of a text block come first (`text_trainer`).

    Raises:
        ConfigError: there are no training or validation reviews, or more clusters than users.
        DivergenceError: a loss is not a finite number; the checkpoint is that of the epoch before.
    """
    history = _train(model, train, valid, config, seed, checkpoint, "done", trainer or PreferenceTrainer)
    problem = diagnose_collapse(best_record(history), history[-1], model.clusters)
    if problem and is_main_process():
        logging.getLogger(__name__).warning(problem)
    return history


def pretrain(
    model: PreferenceModel, train: InteractionArrays, valid: InteractionArrays, config: PreferenceConfig, seed: int = 0
) -> None:
    """Run only the first phase of `fit_preference`: train the model in place as an autoencoder, then fit the mixture.

    Arguments and errors are those of `fit_preference`.
    """
    _train(model, train, valid, config, seed, None, "joint", PreferenceTrainer)


def best_record(history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the record of the joint epoch whose weights were kept."""
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
    trainer: Callable[..., PreferenceTrainer],
) -> list[dict[str, Any]]:
    """Train up to the phase `until` without a change of the caller's random state; return the records."""
    train_pairs, valid_pairs = Interactions(train), Interactions(valid)
    if not len(train_pairs) or not len(valid_pairs):
        raise ConfigError("stage 1 needs training and validation reviews; prepare the data with a validation split")
    # Checks off: Adagrad builds its sparse tensors from a gradient that is valid already.
    unchecked = torch.sparse.check_sparse_tensor_invariants(enable=False)  # type: ignore[no-untyped-call]
    if model.user_rows is not None:  # counting reads all interactions
        model.share_user_rows(train_pairs.counts(model.users, model.items)[0])
    with torch.random.fork_rng(), unchecked:
        torch.manual_seed(seed)
        text_records: list[dict[str, Any]] = []
        if model.text is not None and not (checkpoint is not None and checkpoint.exists()):
            weights = KLWeights.from_interactions(train_pairs, model.users, model.items, model.device)
            state = None if checkpoint is None else checkpoint.with_name(f"text-{checkpoint.name}")
            size = _batch_size(config, len(train_pairs))
            text_records = fit_text_block(model.text, train_pairs, valid_pairs, weights, config, size, state)
        training = trainer(model, train_pairs, valid_pairs, config, seed, checkpoint)
        training.progress.history = text_records
        return training.run(until)


def _batch_size(config: PreferenceConfig, reviews: int) -> int:
    """Return the pairs per step: fewer than the setting when there are few reviews."""
    return min(config.batch_size, max(reviews // MIN_STEPS, MIN_BATCH))


class PreferenceTrainer(EpochTrainer):
    """One training of stage 1. `fit_preference` is the entry point; it guards the caller's random state.

    A training that starts from other weights overrides `first_phase`, `_initialise`, `_epoch_limits`, `_beta` and
    `_fit_components`.

    Args:
        model: trained in place.
        train: training interactions.
        valid: validation interactions.
        config: settings of stage 1.
        seed: of the SVD and of the mixture fits; other draws come from torch's random state.
        path: checkpoint file, or None.
    """

    first_phase = "pretrain"  # then "joint", then "done"

    def __init__(
        self,
        model: PreferenceModel,
        train: Interactions,
        valid: Interactions,
        config: PreferenceConfig,
        seed: int,
        path: Path | None,
    ):
        self.model, self.train, self.valid, self.seed = model, train, valid, seed
        self.kl_weights = KLWeights.from_interactions(train, model.users, model.items, model.device)
        self.batch_size = _batch_size(config, len(train))
        self.resumes = path is not None and path.exists()
        if not self.resumes:
            self._initialise()
            broadcast_model(model)
        tables = [model.encoder.user.offset, model.encoder.item.offset]
        text = [] if model.text is None else list(model.text.parameters())
        super().__init__(model, tables, config, path, self.first_phase, frozen=text)

    def run(self, until: str) -> list[dict[str, Any]]:
        """Train up to the phase `until`, or to the end with "done"; return the records of all epochs so far."""
        if self.resumes and self.path is not None:
            self.restore(load_state(self.path))
        epochs = self._epoch_limits()
        with track("preference model", sum(epochs.values())) as advance:
            while self.progress.phase not in (until, "done"):
                record = self._epoch()
                limit = epochs[self.progress.phase]
                if self.progress.phase_is_over(limit, self.config.patience):
                    advance(limit - self.progress.epoch, "")  # epochs that early stopping saves
                    self._next_phase()
                if self.path is not None and is_main_process():
                    save_state(self.path, self.state())
                advance(1, f"validation RMSE {record['valid_rmse']:.3f}")
        return self.progress.history

    def _initialise(self) -> None:
        """Set the weights that the training starts from."""
        init_from_svd(self.model, self.train.sample(INIT_REVIEWS), self.seed)

    def _epoch_limits(self) -> dict[str, int]:
        """Return the largest number of epochs of each phase."""
        return {"pretrain": self.config.pretrain_epochs, "joint": self.config.epochs}

    def _fit_components(self) -> None:
        """Fit the mixture prior to the users' latents."""
        count_U, _ = self.train.counts(self.model.users, self.model.items)
        fit_components(self.model, count_U, self.train.sample(INIT_REVIEWS), self.config.restarts, self.seed)

    def _epoch(self) -> dict[str, Any]:
        """Train one epoch, validate, and return the record."""
        progress, beta = self.progress, self._beta()
        train_loss = self._train_epoch(beta)
        progress.epoch += 1
        # While beta rises, early stopping ignores the epochs.
        at_full_beta = progress.phase == "pretrain" or self.at_full_beta()
        record: dict[str, Any] = {
            "phase": progress.phase,
            "epoch": progress.epoch,
            "beta": beta,
            "settled": at_full_beta,
            "train_loss": train_loss,
        }
        return self._validate(record)

    def _validate(self, record: dict[str, Any]) -> dict[str, Any]:
        """Add the validation metrics to the record of an epoch, and keep the weights if they are the best so far."""
        progress = self.progress
        record |= validate(self.model, self.valid, self.kl_weights)
        objective = record["valid_nll"] + (self.config.beta * record["valid_kl"] if progress.phase == "joint" else 0.0)
        record["valid_objective"] = objective
        self._check_finite(objective, f"the validation loss of epoch {progress.epoch}")
        progress.history.append(record)
        if record["settled"] and progress.improves(objective):
            self.keep_best()
        return record

    def _train_epoch(self, beta: float) -> float:
        """Take one step per batch; return the mean loss per pair in nats, over all processes."""
        self.model.train()
        total = 0.0
        for number, batch in enumerate(self.train.shuffled(self.batch_size), start=1):
            loss = self.step(batch.drop_ids(self.config.id_dropout), beta)
            self._check_finite(loss, f"the loss of step {number} of epoch {self.progress.epoch + 1}")
            total += loss
        return all_reduce_value(total, self.model.device) / len(self.train)

    def step(self, batch: Batch, beta: float) -> float:
        """Take one optimizer step on a batch; return the summed loss of this process's share of it."""
        # Every process draws the noise of the whole batch, so that results do not depend on the number of processes.
        eps_BD = torch.randn(len(batch), self.model.prior.mean_KD.shape[1])[rank() :: world_size()]
        shard, eps_BD = batch.shard(rank(), world_size()).to(self.model.device), eps_BD.to(self.model.device)
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=use_bf16(self.config.precision)):
            if self.progress.phase == "pretrain":
                loss_B = self.model.autoencoder_nll(shard.user_B, shard.item_B, shard.level_B)
            else:
                losses = self.model.elbo_losses(shard.user_B, shard.item_B, shard.level_B, eps_BD)
                loss_B = losses.nll + beta * self.kl_weights.weighted_kl(losses, shard)
        return self.take_step(loss_B, len(batch))

    def _check_finite(self, loss: float, what: str) -> None:
        """Raise `DivergenceError` if a loss is not a finite number, before the state is saved."""
        if math.isfinite(loss):
            return
        saved = self.path is not None and self.path.exists()
        kept = f"{self.path} keeps the state before this epoch" if saved else "no epoch was finished"
        raise DivergenceError(
            f"stage 1 diverged: {what}, phase {self.progress.phase}, is "
            f"{loss}; {kept}; train a new run with a lower preference.learning_rate (now "
            f"{self.config.learning_rate:g}) or preference.embedding_learning_rate (now "
            f"{self.config.embedding_learning_rate:g})"
        )

    def _beta(self) -> float:
        """Return the weight of the KL in this epoch."""
        return 0.0 if self.progress.phase == "pretrain" else self.rising_beta()

    def _next_phase(self) -> None:
        """Restore the best weights, fit the mixture to them, and go on to the next phase."""
        self.model.load_state_dict(self.best_weights)
        self._fit_components()
        broadcast_model(self.model)
        if self.progress.phase == "pretrain":
            self.progress.start_phase("joint")
            self.keep_best()
            self.new_optimizers()
        else:
            metrics = validate(self.model, self.valid, self.kl_weights)
            self._check_finite(metrics["valid_nll"] + metrics["valid_kl"], "the validation loss after the mixture fit")
            self.progress.start_phase("done")
            self.progress.history.append({"phase": "mixture", **metrics})
