"""What the trainings of stage 1 share: two optimizers, steps, the rise of beta, and the state of a checkpoint.

Embedding tables have sparse gradients, so that a step costs what its batch uses. They are trained by Adagrad, the
networks by AdamW.

Shape suffixes: B batch.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gavamoe.checkpoint import TrainingProgress, copy_tensors
from gavamoe.config import PreferenceConfig
from gavamoe.distributed import sum_gradients


class EpochTrainer:
    """Base of a training of stage 1 or of a part of it.

    Args:
        module: trained in place.
        tables: its embedding tables with sparse gradients.
        config: settings of stage 1.
        path: checkpoint file, or None.
        phase: the first phase.
        frozen: parameters of the module that are not trained.
    """

    def __init__(
        self,
        module: nn.Module,
        tables: Sequence[nn.Embedding],
        config: PreferenceConfig,
        path: Path | None,
        phase: str,
        frozen: Collection[nn.Parameter] = (),
    ):
        self.module, self.tables, self.config, self.path = module, tables, config, path
        apart = {id(table.weight) for table in tables} | {id(parameter) for parameter in frozen}
        self.networks = [parameter for parameter in module.parameters() if id(parameter) not in apart]
        self.progress = TrainingProgress(phase=phase)
        self.keep_best()
        self.new_optimizers()

    def keep_best(self) -> None:
        """Keep the present weights as the best ones."""
        self.best_weights = copy_tensors(self.module.state_dict().items())

    def new_optimizers(self) -> None:
        """Start both optimizers anew."""
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(self.networks, lr=self.config.learning_rate, weight_decay=self.config.weight_decay),
            torch.optim.Adagrad([table.weight for table in self.tables], lr=self.config.embedding_learning_rate),
        ]

    def take_step(self, loss_B: Tensor, batch: int) -> float:
        """Take one optimizer step and return the summed loss of this process's share.

        Args:
            loss_B: losses of this process's share of the batch.
            batch: pairs in the whole batch.
        """
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss_B.sum() / batch)
        sum_gradients(self.networks, self.tables)
        for optimizer in self.optimizers:
            optimizer.step()
        return float(loss_B.detach().sum())

    def rising_beta(self) -> float:
        """Return the weight of the KL in this epoch: it rises linearly to `config.beta` during the warm-up."""
        return self.config.beta * min(1.0, (self.progress.epoch + 1) / max(self.config.warmup_epochs, 1))

    def at_full_beta(self) -> bool:
        """Return whether the finished epochs include the warm-up. Before, the objective is not the one to minimise."""
        return self.progress.epoch >= min(self.config.warmup_epochs, self.config.epochs)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "progress": asdict(self.progress),
            "weights": self.module.state_dict(),
            "best_weights": self.best_weights,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "random": torch.get_rng_state(),
            # On a GPU, dropout draws from the generator of the device.
            "random_on_gpu": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Set the training to the state of a checkpoint."""
        self.progress = TrainingProgress(**state["progress"])
        self.module.load_state_dict(state["weights"])
        self.best_weights = state["best_weights"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["random"])
        if state.get("random_on_gpu") is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["random_on_gpu"])
