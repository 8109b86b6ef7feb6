"""Train the text block of stage 1: its ELBO with a standard normal prior, early stopping on validation reviews.

The block is trained before the ratings, and its weights are kept afterwards. The prior of this phase is a standard
normal; the mixture prior over all of z is fitted when the block is done (`mixture_fit`).

Shape suffixes: B batch, D latent of the block, V vocabulary.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gavamoe.checkpoint import load_state, save_state
from gavamoe.config import PreferenceConfig
from gavamoe.distributed import all_reduce_value, broadcast_model, is_main_process, rank, world_size
from gavamoe.errors import ConfigError, DivergenceError
from gavamoe.preference.batches import Batch, Interactions
from gavamoe.preference.epoch_trainer import EpochTrainer
from gavamoe.preference.losses import KLWeights, PairLosses
from gavamoe.preference.text_block import TextBlock, standard_normal_kl
from gavamoe.progress import track

PHASE = "text"


def fit_text_block(
    block: TextBlock,
    train: Interactions,
    valid: Interactions,
    weights: KLWeights,
    config: PreferenceConfig,
    batch_size: int,
    checkpoint: Path | None,
) -> list[dict[str, Any]]:
    """Train a text block in place; random draws come from torch's random state.

    Args:
        block: an untrained text block.
        train: training interactions with units.
        valid: validation interactions with units.
        weights: the KL counts once per user and once per item.
        config: settings of stage 1.
        batch_size: pairs per step.
        checkpoint: file where the state is saved after every epoch. If it exists, training resumes from it.

    Returns:
        One record per epoch: phase, epoch, train_loss, valid_text_nll (nats per unit), valid_text_kl (nats per pair).

    Raises:
        ConfigError: the interactions have no units.
        DivergenceError: a loss is not a finite number.
    """
    if train.units is None or valid.units is None:
        raise ConfigError("preference.reconstructs names texts, and the interactions have no units of texts")
    return TextTrainer(block, train, valid, weights, config, batch_size, checkpoint).run()


class TextTrainer(EpochTrainer):
    """One training of a text block. `fit_text_block` is the entry point and describes the arguments."""

    def __init__(
        self,
        block: TextBlock,
        train: Interactions,
        valid: Interactions,
        weights: KLWeights,
        config: PreferenceConfig,
        batch_size: int,
        path: Path | None,
    ):
        super().__init__(block, [block.encoder.user.offset, block.encoder.item.offset], config, path, PHASE)
        self.block, self.train, self.valid, self.weights = block, train, valid, weights
        self.batch_size, self.device = batch_size, block.decoder.weight.device

    def run(self) -> list[dict[str, Any]]:
        """Train until validation no longer improves; return the records."""
        if self.path is not None and self.path.exists():
            self.restore(load_state(self.path))
        else:
            self.block.start_from_frequencies(self.train.unit_counts(self.block.decoder.out_features).to(self.device))
            broadcast_model(self.block)
        with track("texts of reviews", self.config.epochs) as advance:
            while not self.progress.phase_is_over(self.config.epochs, self.config.patience):
                record = self._epoch()
                if self.path is not None and is_main_process():
                    save_state(self.path, self.state())
                advance(1, f"validation {record['valid_text_nll']:.3f} nats a unit")
        self.block.load_state_dict(self.best_weights)
        return self.progress.history

    def _epoch(self) -> dict[str, Any]:
        beta = self.rising_beta()
        self.block.train()
        total = 0.0
        for batch in self.train.shuffled(self.batch_size):
            total += self._step(batch.drop_ids(self.config.id_dropout), beta)
        train_loss = all_reduce_value(total, self.device) / len(self.train)
        self.progress.epoch += 1
        nll, kl, units = self._validate()
        objective = (nll + self.config.beta * kl) / len(self.valid)
        if not math.isfinite(train_loss + objective):
            raise DivergenceError(
                f"stage 1 diverged: the loss of the text block in epoch {self.progress.epoch} is {train_loss}; train a "
                f"new run with a lower preference.learning_rate (now {self.config.learning_rate:g})"
            )
        record = {"phase": PHASE, "epoch": self.progress.epoch, "beta": beta, "train_loss": train_loss}
        record |= {"valid_text_nll": nll / max(units, 1), "valid_text_kl": kl / len(self.valid)}
        self.progress.history.append(record)
        if self.at_full_beta() and self.progress.improves(objective):
            self.keep_best()
        return record

    def _step(self, batch: Batch, beta: float) -> float:
        """Take one optimizer step on a batch; return the summed loss of this process's share of it."""
        eps_BD = torch.randn(len(batch), self.block.decoder.in_features)[rank() :: world_size()].to(self.device)
        shard = batch.shard(rank(), world_size()).to(self.device)
        mu_BD, log_var_BD = self.block.encoder(shard.user_B, shard.item_B)
        losses = self._losses_at(mu_BD + torch.exp(0.5 * log_var_BD) * eps_BD, mu_BD, log_var_BD, shard)
        return self.take_step(losses.nll + beta * self.weights.weighted_kl(losses, shard), len(batch))

    def _losses_at(self, z_BD: Tensor, mu_BD: Tensor, log_var_BD: Tensor, batch: Batch) -> PairLosses:
        """Return the terms of the negative ELBO of the texts at given z."""
        kl_BD, half = standard_normal_kl(mu_BD, log_var_BD), self.block.encoder.user_latent
        nll_B = self.block.nll(z_BD, batch.level_B, batch.units)
        return PairLosses(nll_B, kl_BD[:, :half].sum(-1), kl_BD[:, half:].sum(-1))

    @torch.no_grad()
    def _validate(self) -> tuple[float, float, int]:
        """Return the summed loss and the summed KL of the validation reviews in nats, and their number of units."""
        self.block.eval()
        nll = kl = 0.0
        units = 0
        for chunk in self.valid.chunks(self.batch_size * 8):
            batch = chunk.to(self.device)
            mu_BD, log_var_BD = self.block.encoder(batch.user_B, batch.item_B)
            losses = self._losses_at(mu_BD, mu_BD, log_var_BD, batch)
            nll += float(losses.nll.sum())
            kl += float(self.weights.weighted_kl(losses, batch).sum())
            units += int((batch.units > 0).sum())
        return nll, kl, units
