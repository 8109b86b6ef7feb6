"""The validation loss of stage 2, computed over all processes in batches of similar length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from gavamoe.distributed import all_reduce_sum
from gavamoe.explainer.dataset import ExplanationDataset
from gavamoe.language.encoding import IGNORED

VALIDATION_BATCH = 128
# Largest number of logits for one position of every row: a base model's vocabulary allows fewer rows than a small one.
MAX_LOGITS = 2**22


@torch.no_grad()
def validation_loss(
    model: nn.Module,
    dataset: ExplanationDataset,
    collate: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]],
    device: torch.device,
    process: int = 0,
    world_size: int = 1,
) -> float:
    """Return the cross-entropy of explanations and end tokens, in nats per token.

    Every process calls it and gets the same value.

    Args:
        model: stage 2, with LoRA its PEFT model; its training mode is restored.
        dataset: validation sequences.
        collate: makes a batch of sequences.
        device: the model's.
        process: index of this process.
        world_size: number of processes.
    """
    training = model.training
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64)  # nats, tokens
    # Sorted by length for little padding; the order does not change the sum.
    order = sorted(range(len(dataset)), key=lambda row: dataset.lengths[row])
    config: Any = model.config  # nn.Module types it as a tensor or module
    step = world_size * max(1, min(VALIDATION_BATCH, MAX_LOGITS // config.vocabulary))
    for start in range(0, len(order), step):
        own = order[start : start + step][process::world_size]
        # A process without rows runs one that is not counted: sharded models need every process in each forward.
        batch = collate([dataset[row] for row in own or order[:1]])
        loss = model(**{name: tensor.to(device) for name, tensor in batch.items()}, loss_only=True).loss
        tokens = int((batch["labels"][:, 1:] != IGNORED).sum()) if own else 0
        sums += torch.tensor([float(loss) * tokens, tokens], dtype=torch.float64)
    nats, tokens = all_reduce_sum(sums.float().to(device)).tolist() if world_size > 1 else sums.tolist()
    model.train(training)
    return nats / max(tokens, 1)
