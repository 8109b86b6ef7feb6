"""The loss of given texts under the model, row by row: how likely the model finds what somebody wrote about a pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gavamoe.explainer.context import PairContext
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.language.encoding import PromptEncoder, encode_texts

BATCH_TOKENS = 8_192  # tokens of prompts and texts in one forward pass
MAX_LOGITS = 2**24  # logits of one forward pass


@torch.inference_mode()
def text_losses(
    model: GavamoeForCausalLM,
    prompt: PromptEncoder,
    pairs: PairContext,
    texts: Sequence[str],
    max_tokens: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cross-entropy of each text and its end token in nats, and the number of these tokens, [N] each.

    A text's loss does not depend on the rest of the batch.

    Args:
        model: stage 2, in evaluation mode.
        prompt: encodes the prompts; its tokenizer is the model's.
        pairs: what the prompts state.
        texts: a text for each pair.
        max_tokens: longer texts are cut, as in training.
    """
    prompts, encoded = pairs.prompts(prompt), encode_texts(prompt.tokenizer, texts, max_tokens)
    nats = np.zeros(len(texts))
    # Sorted by length for little padding.
    order = sorted(range(len(texts)), key=lambda row: len(prompts[row]) + len(encoded[row]))
    for rows in _batches(order, prompts, encoded, model.config.vocabulary):
        batch, scored_BT, target_BT = _batch(model, pairs, prompts, encoded, rows)
        logits_BTV = model(**batch, logits_to_keep=scored_BT.shape[1] + 1, use_cache=False).logits[:, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1), target_BT.flatten(), reduction="none")
        nats[rows] = (losses.view_as(target_BT) * scored_BT).sum(1).double().cpu().numpy()
    return nats, np.array([len(text) for text in encoded])


def _batches(order: list[int], prompts: list[list[int]], texts: list[list[int]], vocabulary: int) -> list[list[int]]:
    """Cut rows sorted by length into batches that respect BATCH_TOKENS and MAX_LOGITS; a batch has at least one row."""
    batches: list[list[int]] = [[]]
    for row in order:
        size, longest = len(batches[-1]) + 1, len(prompts[row]) + len(texts[row])
        # Logits are computed from the shortest prompt's end on, for every row of the batch.
        scored = longest - min(len(prompts[other]) for other in [*batches[-1], row]) + 1
        if batches[-1] and (size * longest > BATCH_TOKENS or size * scored * vocabulary > MAX_LOGITS):
            batches.append([])
        batches[-1].append(row)
    return batches if batches[-1] else []


def _batch(
    model: GavamoeForCausalLM,
    pairs: PairContext,
    prompts: list[list[int]],
    texts: list[list[int]],
    rows: list[int],
) -> tuple[dict[str, Any], torch.Tensor, torch.Tensor]:
    """Return the model's arguments, which of the last T positions are scored, and their target tokens, [B, T]."""
    sequences = [prompts[row] + texts[row] for row in rows]
    longest = max(map(len, sequences))
    width = longest - min(len(prompts[row]) for row in rows)
    ids_BS, mask_BS, scored_BS = (torch.zeros(len(rows), longest, dtype=torch.long) for _ in range(3))
    for place, (row, sequence) in enumerate(zip(rows, sequences, strict=True)):
        ids_BS[place, : len(sequence)] = torch.tensor(sequence)
        mask_BS[place, : len(sequence)] = 1
        scored_BS[place, len(prompts[row]) : len(sequence)] = 1
    device = model.device
    batch: dict[str, Any] = {"input_ids": ids_BS.to(device), "attention_mask": mask_BS.to(device)}
    batch |= pairs.model_inputs(rows, device)
    return batch, scored_BS[:, -width:].to(device), ids_BS[:, -width:].to(device)
