"""Which experts a text went through: the text is read once more, and the gates' choices are counted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from gavamoe.explainer.examples import PairColumns, PromptEncoder
from gavamoe.explainer.generation import Generated
from gavamoe.explainer.modeling import GavamoeForCausalLM

BATCH = 256


@torch.inference_mode()
def expert_use(model: GavamoeForCausalLM, pairs: PairColumns, written: Sequence[Generated]) -> Tensor:
    """How many choices of each text's tokens each expert got, [N, layers, E]; of an empty text, its prompt's end."""
    model.eval()
    device = model.device
    counts = []
    for start in range(0, len(written), BATCH):
        rows = range(start, min(start + BATCH, len(written)))
        sequences = [written[row].prompt_ids + written[row].text_ids for row in rows]
        begins = [len(written[row].prompt_ids) - (not written[row].text_ids) for row in rows]
        width = max(map(len, sequences))
        ids = torch.tensor([ids + [0] * (width - len(ids)) for ids in sequences], device=device)
        place = torch.arange(width, device=device)
        lengths = torch.tensor([len(ids) for ids in sequences], device=device)[:, None]
        counted_NS = (place >= torch.tensor(begins, device=device)[:, None]) & (place < lengths)
        model(
            ids,
            attention_mask=(place < lengths).long(),
            user_ids=torch.as_tensor(pairs.user_id[list(rows)], device=device),
            item_ids=torch.as_tensor(pairs.item_id[list(rows)], device=device),
            cluster_ids=torch.as_tensor(pairs.cluster[list(rows)], device=device),
            logits_to_keep=1,  # none is looked at, and those of a whole batch would be gigabytes
        )
        layers = [
            _counts(selected, counted_NS, model.config.experts)
            for _, selected in sorted(model.routing.selected.items())
        ]
        counts.append(torch.stack(layers, dim=1))
    return torch.cat(counts).cpu()


def text_use(
    model: GavamoeForCausalLM, tokenizer: PreTrainedTokenizerBase, pairs: PairColumns, texts: Sequence[str]
) -> Tensor:
    """`expert_use` of given texts, as the model would write them of `pairs`, [N, layers, E]."""
    prompt = PromptEncoder(tokenizer)
    encoded = tokenizer([" " + text for text in texts], add_special_tokens=False)["input_ids"] if texts else []
    written = [
        Generated(text, prompt(level, feature, pairs.evidence(row, feature)), ids, finished=True)
        for row, (level, feature, text, ids) in enumerate(zip(pairs.level, pairs.feature, texts, encoded, strict=True))
    ]
    return expert_use(model, pairs, written)


def _counts(selected_NSK: Tensor, counted_NS: Tensor, experts: int) -> Tensor:
    """Choices of each expert over the counted positions, [N, E]."""
    rows = selected_NSK.shape[0]
    weight = counted_NS[..., None].expand_as(selected_NSK).float().reshape(rows, -1)
    return torch.zeros(rows, experts, device=weight.device).scatter_add_(1, selected_NSK.reshape(rows, -1), weight)
