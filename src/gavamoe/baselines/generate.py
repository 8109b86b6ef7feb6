"""Decoding for the baselines, as GaVaMoE's: the same sampling noise for a pair, penalties and number of drafts."""

from __future__ import annotations

import torch
from transformers.generation import ExponentialDecayLengthPenalty

from gavamoe.baselines.data import TextBatch, Vocabulary
from gavamoe.baselines.text_model import TextModel
from gavamoe.language.decoding import logits_processors
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.language.encoding import decode_text
from gavamoe.language.mbr import ReferenceEncoder, select_draft
from gavamoe.language.rarity import Rarity
from gavamoe.language.sampling import pair_keys
from gavamoe.language.whole_characters import token_bytes


@torch.inference_mode()
def generate_texts(
    model: TextModel,
    vocabulary: Vocabulary,
    batch: TextBatch,
    decoding: DecodingConfig,
    seed: int,
    encode_references: ReferenceEncoder,
    rarity: Rarity | None = None,
) -> list[str]:
    """Return the text of each pair; it does not depend on the other pairs of the batch.

    Args:
        model: a trained network, on the batch's device.
        vocabulary: decodes the token ids.
        batch: pairs, whose texts are ignored.
        decoding: sampling, penalties, length limit and number of drafts.
        seed: of the sampling noise.
        encode_references: returns the sentences that drafts are compared with too; no group compares drafts alone.
        rarity: of tokens, by which drafts are compared; None compares them by all tokens alike.
    """
    model.eval()
    drafts = [_generate_draft(model, vocabulary, batch, decoding, seed, draft) for draft in range(decoding.num_drafts)]
    pairs = zip(batch.user_B.tolist(), batch.item_B.tolist(), strict=True)
    selected = [
        select_draft(candidates, vocabulary.end, *encode_references(*pair), rarity=rarity)[0]
        for pair, candidates in zip(pairs, zip(*drafts, strict=True), strict=True)
    ]
    return [decode_text(vocabulary.tokenizer, ids) for ids in selected]


def _generate_draft(
    model: TextModel, vocabulary: Vocabulary, batch: TextBatch, decoding: DecodingConfig, seed: int, draft: int
) -> list[list[int]]:
    """Return the token ids of one draft of each text, padded with the end token."""
    keys_B = pair_keys(batch.user_B, batch.item_B, seed, draft)
    penalty = decoding.exponential_decay_length_penalty
    length = [] if penalty is None else [ExponentialDecayLengthPenalty(penalty, vocabulary.end, 0)]
    processors = logits_processors(decoding, keys_B, 0, token_bytes(vocabulary.tokenizer), length)
    tokens_BS = batch.user_B.new_zeros(len(batch), 0)
    ended_B = torch.zeros_like(batch.user_B, dtype=torch.bool)
    logits_BV, state = model.prefill(batch)
    while not ended_B.all():
        token_B = processors(tokens_BS, logits_BV.float()).argmax(-1).masked_fill(ended_B, vocabulary.end)
        tokens_BS = torch.cat([tokens_BS, token_B[:, None]], dim=1)
        ended_B |= token_B == vocabulary.end
        if tokens_BS.shape[1] >= decoding.max_new_tokens:
            break
        logits_BV, state = model.decode_step(token_B, state)
    return tokens_BS.tolist()
