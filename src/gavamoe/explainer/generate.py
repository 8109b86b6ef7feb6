"""Explanations for many pairs: batched, left-padded, sorted by length; a pair's text does not depend on its batch."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedTokenizerBase, StoppingCriteriaList
from transformers.generation import NoRepeatNGramLogitsProcessor

from gavamoe.explainer.dataset import PairContext
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.streaming import WordStreamer
from gavamoe.language.decoding_config import drafts_of
from gavamoe.language.encoding import PromptEncoder, decode_text, encode_texts
from gavamoe.language.mbr import select_draft
from gavamoe.language.sampling import PairSampling, pair_keys

BATCH = 256
TEXTS_KEPT = 10_000  # of people, as tokens


@dataclass(frozen=True)
class Generated:
    """One text, its token ids (with prompt: `prompt + text`), and whether it ended by itself."""

    text: str
    prompt_ids: list[int]
    text_ids: list[int]
    finished: bool


def generate(
    model: GavamoeForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    pairs: PairContext,
    generation: GenerationConfig,
    seed: int = 0,
    streamer: WordStreamer | None = None,
    batch_size: int = BATCH,
) -> Iterator[tuple[int, Generated]]:
    """Yield (row, text) for every pair, in an order of our choosing: prompts of one length together.

    With `generation.do_sample` (and no beams), temperature and top_p apply and `seed` counts (see `PairSampling`).
    `mbr_select` keeps one of `generation.candidates` drafts, by the others and by sentences of each group of
    `pairs.references`. A `streamer` gets the tokens of a single pair as they are written, of a single draft.
    batch_size: sequences at once, drafts counted.
    """
    model.eval()
    encode = PromptEncoder(tokenizer)
    prompts = [
        encode(level, feature, pairs.evidence(row, feature))
        for row, (level, feature) in enumerate(zip(pairs.level, pairs.feature, strict=True))
    ]
    encode_reference = lru_cache(TEXTS_KEPT)(
        lambda text: encode_texts(tokenizer, [text], generation.max_new_tokens)[0][:-1]
    )
    by_length = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    drafts, end = drafts_of(generation), tokenizer.eos_token_id
    count = int(getattr(generation, "heard", None) or 0)
    step = max(1, batch_size // drafts)
    for start in range(0, len(by_length), step):
        rows = by_length[start : start + step]
        drawn = [row for row in rows for _ in range(drafts)]
        sequences = _generate_batch(model, tokenizer, pairs, prompts, drawn, generation, seed, streamer)
        for place, row in enumerate(rows):
            references = (
                [[encode_reference(text) for text in texts] for texts in pairs.references(row, count)]
                if drafts > 1
                else []
            )
            ids, finished = select_draft(sequences[place * drafts : (place + 1) * drafts], end, *references)
            yield row, Generated(decode_text(tokenizer, ids), prompts[row], ids, finished)


def _generate_batch(
    model: GavamoeForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    pairs: PairContext,
    prompts: Sequence[list[int]],
    rows: list[int],
    generation: GenerationConfig,
    seed: int,
    streamer: WordStreamer | None,
) -> list[list[int]]:
    width = max(len(prompts[row]) for row in rows)
    pad, device = tokenizer.pad_token_id, model.device
    input_ids = torch.tensor([[pad] * (width - len(prompts[row])) + prompts[row] for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(prompts[row])) + [1] * len(prompts[row]) for row in rows], device=device)
    columns = {"user_ids": pairs.user_id, "item_ids": pairs.item_id, "cluster_ids": pairs.cluster}
    sides = {name: torch.as_tensor(column[rows], device=device) for name, column in columns.items()}
    draft_B = torch.arange(len(rows), device=device) % drafts_of(generation)
    keys = pair_keys(sides["user_ids"], sides["item_ids"], seed, draft_B)
    return decode(model, input_ids, mask, sides, generation, keys, streamer)


CHUNK_TOKENS = 8  # tokens: each leg costs a fixed preparation


# A larger vocabulary's logits are made of a prompt's last token alone, as those of all would be gigabytes. A smaller
# one's cost little, and without them the last token's would be rounded otherwise than in texts on record.
WHOLE_PROMPT = 2**15


@torch.inference_mode()
def decode(
    model: GavamoeForCausalLM,
    input_ids_BS: Tensor,
    mask_BS: Tensor,
    sides: dict[str, Tensor],
    generation: GenerationConfig,
    key_B: Tensor,
    streamer: WordStreamer | None = None,
) -> list[list[int]]:
    """Token ids of each sequence after its prompt; from its end token on, if it has one, they mean nothing.

    input_ids, mask: padded on the left. sides: user_ids, item_ids, cluster_ids [B]. Where `generation` samples without
    beams, `key_B` (of `pair_keys`) decides the draws.
    """
    width, end = input_ids_BS.shape[1], generation.eos_token_id
    beams = (generation.num_beams or 1) > 1
    keep = 0 if model.config.vocabulary <= WHOLE_PROMPT else 1
    whole = beams or streamer is not None or len(input_ids_BS) == 1
    row_B, cache, written = torch.arange(len(input_ids_BS), device=input_ids_BS.device), None, 0
    found: dict[int, list[int]] = {}
    while len(row_B):
        processors = LogitsProcessorList()
        if generation.no_repeat_ngram_size:
            processors.append(NoRepeatInText(generation.no_repeat_ngram_size, width))
        if generation.do_sample and not beams:
            processors.append(PairSampling(key_B, width, generation.temperature or 1.0, generation.top_p or 1.0))
        output: Any = model.generate(
            input_ids_BS,
            attention_mask=mask_BS,
            cache=cache,
            generation_config=_chunk_config(generation, written, generation.max_new_tokens if whole else CHUNK_TOKENS),
            logits_processor=processors,
            streamer=streamer,
            stopping_criteria=StoppingCriteriaList([streamer] if streamer else []),
            return_dict_in_generate=True,
            logits_to_keep=keep,
            **sides,
        )
        input_ids_BS, cache = output.sequences, output.cache
        written = input_ids_BS.shape[1] - width
        over_B = (input_ids_BS[:, width:] == end).any(1) | (whole or written >= generation.max_new_tokens)
        found |= zip(row_B[over_B].tolist(), input_ids_BS[over_B, width:].tolist(), strict=True)
        (kept_N,) = (~over_B).nonzero(as_tuple=True)
        row_B, key_B, input_ids_BS, mask_BS = (of_B[kept_N] for of_B in (row_B, key_B, input_ids_BS, mask_BS))
        sides = {name: id_B[kept_N] for name, id_B in sides.items()}
        mask_BS = pad(mask_BS, (0, input_ids_BS.shape[1] - mask_BS.shape[1]), value=1)
        cache.batch_select_indices(kept_N)
    return [found[row] for row in sorted(found)]


def _chunk_config(generation: GenerationConfig, written: int, tokens: int) -> GenerationConfig:
    """The settings of the next `tokens` where so many are written: what counts from the prompt counts from here."""
    chunk = copy.deepcopy(generation)
    chunk.max_new_tokens = min(tokens, generation.max_new_tokens - written)
    chunk.min_new_tokens = min(max((generation.min_new_tokens or 0) - written, 0), chunk.max_new_tokens) or None
    if generation.exponential_decay_length_penalty is not None:
        start, rate = generation.exponential_decay_length_penalty
        chunk.exponential_decay_length_penalty = (start - written, rate)
    chunk.no_repeat_ngram_size = None  # NoRepeatInText sees to it
    # PairSampling draws, by noise that makes the likeliest the drawn one; beams that draw would not be the pair's own.
    chunk.do_sample, chunk.temperature, chunk.top_p = False, None, None
    return chunk


class NoRepeatInText(NoRepeatNGramLogitsProcessor):
    """No n-gram twice in the text; what the prompt says (a feature, what others wrote) may be said once more."""

    def __init__(self, size: int, prompt_width: int):
        super().__init__(size)
        self.prompt_width = prompt_width

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """As transformers' own, of what follows the prompt."""
        return super().__call__(input_ids[:, self.prompt_width :], scores)
