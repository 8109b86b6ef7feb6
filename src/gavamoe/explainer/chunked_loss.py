"""The cross-entropy of scored positions only, of a large vocabulary in chunks.

Prompts and padding are not scored, so their logits are not needed. With 49,152 tokens in the vocabulary, the logits of
512 texts of 36 tokens take 3.6 GB in float32, and their gradient as much again. So the logits of all tokens never exist
at once: each chunk's logits are computed again in backward.

Shape suffixes: B batch, S sequence, N scored positions, H hidden, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CHUNK_LOGITS = 2**26  # 256 MB in float32


def summed_cross_entropy(head: nn.Module, states_NH: Tensor, target_N: Tensor, vocabulary: int) -> Tensor:
    """Return the summed cross-entropy of N positions, scalar.

    Args:
        head: maps hidden states to logits.
        states_NH: hidden states of the scored positions.
        target_N: the token that each position should predict.
        vocabulary: number of tokens, which decides how many positions a chunk has.
    """
    rows = max(1, CHUNK_LOGITS // vocabulary)
    if len(target_N) <= rows:
        return _cross_entropy(head, states_NH, target_N)
    chunks = zip(states_NH.split(rows), target_N.split(rows), strict=True)
    return torch.stack([checkpoint(_cross_entropy, head, *chunk, use_reentrant=False) for chunk in chunks]).sum()


def _cross_entropy(head: nn.Module, states_NH: Tensor, target_N: Tensor) -> Tensor:
    return nn.functional.cross_entropy(head(states_NH).float(), target_N, reduction="sum")


@torch.no_grad()
def can_chunk_loss(model: Any) -> bool:
    """Return whether a model's loss can be computed from hidden states: its logits are those of a plain output layer.

    Some LMs scale or cap the logits after the output layer. Two tokens show whether this one does.

    Args:
        model: stage 2 (`GavamoeForCausalLM`).
    """
    lm, was_training = model.lm, model.training
    model.eval()
    model.routing.begin(torch.zeros(1, dtype=torch.long, device=model.device))
    ids_BS = torch.tensor([[0, 1]], device=model.device)
    states_BSH = lm.get_decoder()(input_ids=ids_BS, use_cache=False).last_hidden_state
    expected_BSV, logits_BSV = lm(input_ids=ids_BS, use_cache=False).logits, lm.get_output_embeddings()(states_BSH)
    model.train(was_training)
    return torch.allclose(logits_BSV.float(), expected_BSV.float(), rtol=1e-2, atol=1e-2)
