"""One batch of prompts to token ids, in legs: after each, the sequences that have ended leave the batch.

A batch lasts as long as its longest text, more than twice as long as the usual one: without legs, more than half of the
work is done for sequences that have ended. Beams and streams, which `generate` must see as a whole, are one leg.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList
from transformers.generation import NoRepeatNGramLogitsProcessor

from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.sampling import PairSampling
from gavamoe.explainer.streaming import WordStreamer

LEG = 8  # tokens: each leg costs a fixed preparation
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
            generation_config=_leg(generation, written, generation.max_new_tokens if whole else LEG),
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


def _leg(generation: GenerationConfig, written: int, tokens: int) -> GenerationConfig:
    """The settings of the next `tokens` where so many are written: what counts from the prompt counts from here."""
    leg = copy.deepcopy(generation)
    leg.max_new_tokens = min(tokens, generation.max_new_tokens - written)
    leg.min_new_tokens = min(max((generation.min_new_tokens or 0) - written, 0), leg.max_new_tokens) or None
    if generation.exponential_decay_length_penalty is not None:
        start, rate = generation.exponential_decay_length_penalty
        leg.exponential_decay_length_penalty = (start - written, rate)
    leg.no_repeat_ngram_size = None  # NoRepeatInText sees to it
    # PairSampling draws, by noise that makes the likeliest the drawn one; beams that draw would not be the pair's own.
    leg.do_sample, leg.temperature, leg.top_p = False, None, None
    return leg


class NoRepeatInText(NoRepeatNGramLogitsProcessor):
    """No n-gram twice in the text; what the prompt says (a feature, what others wrote) may be said once more."""

    def __init__(self, size: int, prompt_width: int):
        super().__init__(size)
        self.prompt_width = prompt_width

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """As transformers' own, of what follows the prompt."""
        return super().__call__(input_ids[:, self.prompt_width :], scores)
