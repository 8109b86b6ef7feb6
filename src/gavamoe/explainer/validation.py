"""The validation loss: nats per scored token over all rows, whatever the batches and the number of processes.

The prompts state the true rating and feature of each review: an oracle, by which trainings are compared with each other
and their best epoch is chosen, and nothing that is known of a pair without a review.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from gavamoe.explainer.examples import ExplanationDataset
from gavamoe.explainer.modeling import IGNORED
from gavamoe.moe.losses import over_processes

BATCH = 128
LOGITS = 2**22  # at most so many for one place of each row: a base's vocabulary allows fewer rows than our own


@torch.no_grad()
def nats_per_token(
    model: nn.Module,
    dataset: ExplanationDataset,
    collate: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]],
    device: torch.device,
    process: int = 0,
    processes: int = 1,
) -> float:
    """Cross-entropy of explanations and end tokens; every process calls it, with its number, and gets the same."""
    training = model.training
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64)  # nats, tokens
    # Rows of like length together: little padding, and the sum does not mind the order.
    order = sorted(range(len(dataset)), key=lambda row: dataset.lengths[row])
    config: Any = model.config
    step = processes * max(1, min(BATCH, LOGITS // config.vocabulary))
    for start in range(0, len(order), step):
        own = order[start : start + step][process::processes]
        # Where none is left for this process it runs one that does not count: sharded models need all to take part.
        batch = collate([dataset[row] for row in own or order[:1]])
        loss = model(**{name: tensor.to(device) for name, tensor in batch.items()}).loss
        tokens = int((batch["labels"][:, 1:] != IGNORED).sum()) if own else 0
        sums += torch.tensor([float(loss) * tokens, tokens], dtype=torch.float64)
    nats, tokens = over_processes(sums.float().to(device)).tolist() if processes > 1 else sums.tolist()
    model.train(training)
    return nats / max(tokens, 1)
