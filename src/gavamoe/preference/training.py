"""Training of stage 1: autoencoder pretraining, mixture initialisation, then the ELBO with beta warm-up.

Each phase stops early on its validation objective and gives back its best weights. State is kept after every epoch, so
an interrupted training that is resumed ends with the same weights as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gavamoe.checkpoint import load_state, save_state
from gavamoe.config import PreferenceConfig
from gavamoe.data.dataset import InteractionArrays
from gavamoe.errors import ConfigError
from gavamoe.preference.encoder import UNKNOWN
from gavamoe.preference.initialise import initialise_mixture
from gavamoe.preference.model import PairLosses, PreferenceModel
from gavamoe.preference.spectral import start_from_factors
from gavamoe.progress import track

LIVE_SHARE = 0.01  # a cluster is live when it holds at least this share of the pairs


@dataclass
class Pairs:
    """Interactions as tensors: ids [N] (0 unknown) and level [N] counted from 0."""

    user_N: Tensor
    item_N: Tensor
    level_N: Tensor

    @classmethod
    def of(cls, arrays: InteractionArrays) -> Pairs:
        """Take over arrays whose levels count from 1."""
        user, item, level = (
            torch.as_tensor(a, dtype=torch.int64) for a in (arrays.user_id, arrays.item_id, arrays.level)
        )
        return cls(user, item, level - 1)

    def __len__(self) -> int:
        return len(self.user_N)


@dataclass
class Shares:
    """What part of its user's and of its item's KL a pair carries: one over their training reviews.

    A user's half of z is drawn once, and so is an item's, however many reviews they have. Counting the KL once for each
    is the ELBO of that model; counting it again with every pair leaves users of one review as free as those of a
    hundred, or pins down both.
    """

    user_U: Tensor
    item_I: Tensor

    @classmethod
    def of(cls, train: Pairs, model: PreferenceModel) -> Shares:
        """From the reviews of each user [users + 1] and item [items + 1]; all reviews speak of the unknown."""
        counts = (
            torch.bincount(train.user_N, minlength=model.users + 1),
            torch.bincount(train.item_N, minlength=model.items + 1),
        )
        for count in counts:
            count[UNKNOWN] = len(train)
        return cls(*(1 / count.clamp_min(1) for count in counts))

    def kl(self, losses: PairLosses, user_B: Tensor, item_B: Tensor) -> Tensor:
        """The pairs' parts of the KL, [B]."""
        return losses.kl_user * self.user_U[user_B] + losses.kl_item * self.item_I[item_B]


@dataclass
class Progress:
    """Where training stands; everything a resumed run needs besides weights, optimizers and random state."""

    phase: str = "pretrain"  # then "joint", then "done"
    epoch: int = 0  # epochs finished in this phase
    best: float = math.inf
    stale: int = 0  # epochs since the best
    history: list[dict[str, Any]] = field(default_factory=list)


def fit(
    model: PreferenceModel,
    train: InteractionArrays,
    valid: InteractionArrays,
    config: PreferenceConfig,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> list[dict[str, Any]]:
    """Train `model` in place and return a record an epoch: phase, losses, RMSE in levels, live clusters, entropy.

    With `checkpoint`, the state is written there after every epoch, and found there, training goes on from it.
    The caller's random state is left as it was. `ConfigError` when there is nothing to validate on or K is too large.
    """
    train_pairs, valid_pairs = Pairs.of(train), Pairs.of(valid)
    if not len(train_pairs) or not len(valid_pairs):
        raise ConfigError("stage 1 needs training and validation reviews; prepare the data with a validation split")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _Fit(model, train_pairs, valid_pairs, config, seed, checkpoint).run()


class _Fit:
    """One training: the pieces that every epoch shares."""

    def __init__(
        self, model: PreferenceModel, train: Pairs, valid: Pairs, config: PreferenceConfig, seed: int, path: Path | None
    ):
        self.model, self.train, self.valid, self.config, self.seed, self.path = model, train, valid, config, seed, path
        self.progress = Progress()
        self.shares = Shares.of(train, model)
        if path is None or not path.exists():
            start_from_factors(model, train.user_N, train.item_N, train.level_N, seed)
        self.best_weights = _copy(model)
        self._new_optimizers()

    def run(self) -> list[dict[str, Any]]:
        if self.path is not None and self.path.exists():
            self._restore(load_state(self.path))
        limits = {"pretrain": self.config.pretrain_epochs, "joint": self.config.epochs}
        with track("preference model", sum(limits.values())) as advance:
            while self.progress.phase != "done":
                record = self._epoch()
                if self.progress.epoch >= limits[self.progress.phase] or self.progress.stale >= self.config.patience:
                    advance(limits[self.progress.phase] - self.progress.epoch, "")
                    self._next_phase()
                if self.path is not None:
                    save_state(self.path, self._state())
                advance(1, f"validation RMSE {record['valid_rmse']:.3f}")
        return self.progress.history

    def _epoch(self) -> dict[str, Any]:
        progress, beta = self.progress, self._beta()
        train_loss = self._train_epoch(beta)
        progress.epoch += 1
        record: dict[str, Any] = {
            "phase": progress.phase,
            "epoch": progress.epoch,
            "beta": beta,
            "train_loss": train_loss,
        }
        record |= validate(self.model, self.valid, self.shares)
        objective = record["valid_nll"] + (self.config.beta * record["valid_kl"] if progress.phase == "joint" else 0.0)
        record["valid_objective"] = objective
        progress.history.append(record)
        # While beta still rises, the objective is not yet the one that is meant.
        settled = progress.phase == "pretrain" or progress.epoch >= self.config.warmup_epochs
        if settled and objective < progress.best:
            progress.best, progress.stale, self.best_weights = objective, 0, _copy(self.model)
        elif settled:
            progress.stale += 1
        return record

    def _train_epoch(self, beta: float) -> float:
        self.model.train()
        total = 0.0
        for user_B, item_B, level_B in _batches(self.train, self.config.batch_size):
            user_B, item_B = _drop_ids(user_B, self.config.id_dropout), _drop_ids(item_B, self.config.id_dropout)
            if self.progress.phase == "pretrain":
                loss = self.model.autoencoder_nll(user_B, item_B, level_B).mean()
            else:
                losses = self.model.elbo_losses(user_B, item_B, level_B)
                loss = (losses.nll + beta * self.shares.kl(losses, user_B, item_B)).mean()
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()
            for optimizer in self.optimizers:
                optimizer.step()
            total += float(loss.detach()) * len(user_B)
        return total / len(self.train)

    def _beta(self) -> float:
        if self.progress.phase == "pretrain":
            return 0.0
        return self.config.beta * min(1.0, (self.progress.epoch + 1) / max(self.config.warmup_epochs, 1))

    def _next_phase(self) -> None:
        self.model.load_state_dict(self.best_weights)
        progress = self.progress
        if progress.phase == "pretrain":
            initialise_mixture(self.model, self.train.user_N, self.train.item_N, self.config.restarts, self.seed)
            progress.phase, progress.epoch, progress.best, progress.stale = "joint", 0, math.inf, 0
            self.best_weights = _copy(self.model)
            self._new_optimizers()
        else:
            progress.phase = "done"

    def _new_optimizers(self) -> None:
        tables = [self.model.encoder.user.offset.weight, self.model.encoder.item.offset.weight]
        networks = [p for p in self.model.parameters() if all(p is not table for table in tables)]
        rate = self.config.learning_rate
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(networks, lr=rate, weight_decay=self.config.weight_decay),
            torch.optim.Adagrad(tables, lr=self.config.vector_rate),
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
        self.progress = Progress(**state["progress"])
        self.model.load_state_dict(state["weights"])
        self.best_weights = state["best_weights"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["random"])


@torch.no_grad()
def validate(model: PreferenceModel, pairs: Pairs, shares: Shares) -> dict[str, float]:
    """NLL, RMSE and MAE (in levels), KL, live clusters and mixture entropy (nats), all at z = mu, means over pairs."""
    chunks = list(model.encode_chunks(pairs.user_N, pairs.item_N))
    mu_BD, log_var_BD = torch.cat([mu for mu, _ in chunks]), torch.cat([log_var for _, log_var in chunks])
    losses = model.losses_at(mu_BD, mu_BD, log_var_BD, pairs.level_N)
    log_gamma_BK = model.prior.log_responsibilities(mu_BD)
    expected_B = model.decoder(mu_BD).softmax(-1) @ torch.arange(model.levels, dtype=torch.float32)
    error_B = expected_B - pairs.level_N
    share_K = log_gamma_BK.exp().mean(0)
    return {
        "valid_nll": float(losses.nll.mean()),
        "valid_rmse": float(error_B.square().mean().sqrt()),
        "valid_mae": float(error_B.abs().mean()),
        "valid_kl": float(shares.kl(losses, pairs.user_N, pairs.item_N).mean()),
        "live_clusters": int((share_K >= LIVE_SHARE).sum()),
        "mixture_entropy": float(-(share_K * share_K.clamp_min(1e-12).log()).sum()),
    }


def _batches(pairs: Pairs, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    for index_B in torch.randperm(len(pairs)).split(size):
        yield pairs.user_N[index_B], pairs.item_N[index_B], pairs.level_N[index_B]


def _drop_ids(id_B: Tensor, rate: float) -> Tensor:
    """Turn ids into the unknown at random, so that its vector means 'someone', and not its random start."""
    return torch.where(torch.rand(id_B.shape) < rate, UNKNOWN, id_B)


def _copy(model: PreferenceModel) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
