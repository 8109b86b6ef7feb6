"""Texts of the baselines, decoded as GaVaMoE's are: the same noise for a pair, the same penalties, as many drafts."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LogitsProcessorList
from transformers.generation import ExponentialDecayLengthPenalty, NoRepeatNGramLogitsProcessor

from gavamoe.baselines.batches import Batch
from gavamoe.baselines.data import Vocabulary
from gavamoe.baselines.text_model import TextModel
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.language.encoding import decode_text
from gavamoe.language.mbr import select_draft
from gavamoe.language.sampling import PairSampling, pair_keys
from gavamoe.language.whole_characters import TokenBytes, WholeCharacters, token_bytes


@torch.inference_mode()
def generate_texts(
    model: TextModel, vocabulary: Vocabulary, batch: Batch, decoding: DecodingConfig, seed: int
) -> list[str]:
    """The text of each pair of the batch, which no other pair of it influences."""
    model.eval()
    drafts = [_generate_draft(model, vocabulary, batch, decoding, seed, draft) for draft in range(decoding.num_drafts)]
    kept = [select_draft(of_pair, vocabulary.end)[0] for of_pair in zip(*drafts, strict=True)]
    return [decode_text(vocabulary.tokenizer, ids) for ids in kept]


def _generate_draft(
    model: TextModel, vocabulary: Vocabulary, batch: Batch, decoding: DecodingConfig, seed: int, draft: int
) -> list[list[int]]:
    """Token ids of one draft of each text, the end token repeated after it."""
    keys_B = pair_keys(batch.user_B, batch.item_B, seed, draft)
    processors = _processors(batch, vocabulary.end, decoding, keys_B, token_bytes(vocabulary.tokenizer))
    tokens_BS = batch.user_B.new_zeros(len(batch), 0)
    ended_B = torch.zeros_like(batch.user_B, dtype=torch.bool)
    logits_BV, state = model.begin(batch)
    while not ended_B.all():
        token_B = processors(tokens_BS, logits_BV.float()).argmax(-1).masked_fill(ended_B, vocabulary.end)
        tokens_BS = torch.cat([tokens_BS, token_B[:, None]], dim=1)
        ended_B |= token_B == vocabulary.end
        if tokens_BS.shape[1] >= decoding.max_new_tokens:
            break
        logits_BV, state = model.step(token_B, state)
    return tokens_BS.tolist()


def _processors(
    batch: Batch, end: int, decoding: DecodingConfig, keys_B: Tensor, tokens: TokenBytes | None
) -> LogitsProcessorList:
    processors = LogitsProcessorList()
    if decoding.no_repeat_ngram_size:
        processors.append(NoRepeatNGramLogitsProcessor(decoding.no_repeat_ngram_size))
    if decoding.exponential_decay_length_penalty is not None:
        processors.append(ExponentialDecayLengthPenalty(decoding.exponential_decay_length_penalty, end, 0))
    sampling = None
    if decoding.do_sample:
        sampling = PairSampling(keys_B, 0, decoding.temperature or 1.0, decoding.top_p or 1.0)
    if tokens is not None:
        processors.append(WholeCharacters(tokens, 0, sampling))
    elif sampling is not None:
        processors.append(sampling)
    return processors
