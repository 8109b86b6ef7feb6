"""Explanations for many pairs: batched by prompt length, with several drafts per pair, independent of the batch.

    prompts --sorted by length--> batches --decode, CHUNK_TOKENS at a time--> drafts --select_draft--> one text per pair

Decoding in chunks lets sequences that have ended leave the batch.

Shape suffixes: B sequences, S tokens, P pairs, N sequences that are still unfinished.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import GenerationConfig, PreTrainedTokenizerBase, StoppingCriteriaList

from gavamoe.explainer.context import PairContext
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.streaming import ReaderCriteria, TextReader
from gavamoe.language.decoding import logits_processors
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.language.encoding import PromptEncoder, decode_text
from gavamoe.language.mbr import ReferenceSentences, reference_encoder, select_draft
from gavamoe.language.quiet import quiet_transformers
from gavamoe.language.rarity import Rarity
from gavamoe.language.sampling import pair_keys
from gavamoe.language.whole_characters import TokenBytes, token_bytes

BATCH = 256  # sequences
CHUNK_TOKENS = 8  # tokens between two checks for ended sequences; each chunk has a fixed cost
# A larger vocabulary gets logits of a prompt's last token only, since those of all its tokens would take gigabytes. For
# a smaller one they cost little, and without them the last token's would round otherwise than in published texts.
MAX_VOCABULARY_FOR_PROMPT_LOGITS = 2**15


@dataclass(frozen=True)
class GeneratedText:
    """One generated text.

    Args:
        text: the text.
        prompt_ids: token ids of the prompt.
        text_ids: token ids of the text, without the end token.
        finished: whether the end token was generated.
    """

    text: str
    prompt_ids: list[int]
    text_ids: list[int]
    finished: bool


def generate(
    model: GavamoeForCausalLM,
    prompt: PromptEncoder,
    pairs: PairContext,
    decoding: DecodingConfig,
    seed: int = 0,
    references: ReferenceSentences | None = None,
    batch_size: int = BATCH,
    readers: Sequence[TextReader] | None = None,
    rarity: Rarity | None = None,
) -> Iterator[tuple[int, GeneratedText]]:
    """Yield (row, text) for every pair, in the order of prompt lengths.

    Args:
        model: stage 2.
        prompt: encodes the prompts; its tokenizer is the model's.
        pairs: what the prompts state.
        decoding: how to decode. With several drafts, `select_draft` keeps one.
        seed: of sampling (see `PairSampling`).
        references: looks up the sentences that drafts are compared with; called only while a pair's batch is generated.
        batch_size: sequences at once, each draft counted.
        readers: one per pair; each follows its text and may leave. A text whose reader left is cut short.
        rarity: of tokens, by which drafts are compared; None compares them by all tokens alike.
    """
    model.eval()
    tokenizer, prompts = prompt.tokenizer, pairs.prompts(prompt)
    by_length = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    drafts, end = decoding.num_drafts, tokenizer.eos_token_id
    encode_references = reference_encoder(tokenizer, decoding, references)
    step = max(1, batch_size // drafts)
    for start in range(0, len(by_length), step):
        rows = by_length[start : start + step]
        repeated = [row for row in rows for _ in range(drafts)]
        sequences = _generate_batch(model, tokenizer, pairs, prompts, repeated, decoding, seed, readers)
        for place, row in enumerate(rows):
            own_drafts = sequences[place * drafts : (place + 1) * drafts]
            groups = encode_references(int(pairs.user_id[row]), int(pairs.item_id[row]))
            ids, finished = select_draft(own_drafts, end, *groups, rarity=rarity)
            yield row, GeneratedText(decode_text(tokenizer, ids), prompts[row], ids, finished)


def _generate_batch(
    model: GavamoeForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    pairs: PairContext,
    prompts: Sequence[list[int]],
    rows: list[int],
    decoding: DecodingConfig,
    seed: int,
    readers: Sequence[TextReader] | None,
) -> list[list[int]]:
    """Return a sequence for each of `rows`, in which a pair's drafts follow each other; prompts are left-padded."""
    width = max(len(prompts[row]) for row in rows)
    pad_id, device = tokenizer.pad_token_id, model.device
    input_ids = torch.tensor([[pad_id] * (width - len(prompts[row])) + prompts[row] for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(prompts[row])) + [1] * len(prompts[row]) for row in rows], device=device)
    pair_ids = pairs.model_inputs(rows, device)
    draft_B = torch.arange(len(rows), device=device) % decoding.num_drafts
    # Ids of guests depend on the other pairs of a request, so all guests share one key, and with it the noise.
    key_user_B = pair_ids["user_ids"].clamp_max(model.config.users + 1)
    key_B = pair_keys(key_user_B, pair_ids["item_ids"], seed, draft_B)
    criteria = None
    if readers is not None:
        known = decoding.num_drafts == 1 and not decoding.uses_beams  # the text, while it is generated
        criteria = ReaderCriteria([readers[row] for row in rows], tokenizer, width, words=known)
    cache = prompt_cache(model, input_ids, mask, pair_ids, decoding.num_drafts)
    return decode(model, input_ids, mask, pair_ids, decoding, key_B, criteria, token_bytes(tokenizer), cache)


@torch.inference_mode()
def prompt_cache(
    model: GavamoeForCausalLM, input_ids_BS: Tensor, mask_BS: Tensor, pair_ids: dict[str, Tensor], drafts: int
) -> Any:
    """Return keys and values of all prompt tokens but the last, computed once for the drafts of a pair.

    Args:
        model: stage 2.
        input_ids_BS: prompts, padded on the left; each stands there once per draft.
        mask_BS: attention mask of the prompts.
        pair_ids: user_ids, item_ids and cluster_ids, each [B].
        drafts: rows of a pair, which follow each other.

    Returns:
        A cache of B rows; None if there is one draft, whose prompt `decode` processes itself.
    """
    if drafts == 1:
        return None
    mask_PS = mask_BS[::drafts, :-1]
    output = model(
        input_ids_BS[::drafts, :-1],
        attention_mask=mask_PS,
        position_ids=(mask_PS.cumsum(1) - 1).clamp_min(0),
        use_cache=True,
        logits_to_keep=1,
        **{name: id_B[::drafts] for name, id_B in pair_ids.items()},
    )
    cache: Any = output.cache
    cache.batch_repeat_interleave(drafts)
    return cache


@quiet_transformers()
@torch.inference_mode()
def decode(
    model: GavamoeForCausalLM,
    input_ids_BS: Tensor,
    mask_BS: Tensor,
    pair_ids: dict[str, Tensor],
    decoding: DecodingConfig,
    key_B: Tensor,
    readers: ReaderCriteria | None = None,
    tokens: TokenBytes | None = None,
    cache: Any = None,
) -> list[list[int]]:
    """Return the token ids of each sequence after its prompt; those after an end token mean nothing.

    Args:
        model: stage 2.
        input_ids_BS: prompts, padded on the left.
        mask_BS: attention mask of the prompts.
        pair_ids: user_ids, item_ids and cluster_ids, each [B].
        decoding: how to decode.
        key_B: keys of the sampling noise (`pair_keys`); used if `decoding` samples without beams.
        readers: follow the sequences of a batch.
        tokens: the bytes of the tokenizer's tokens, of which texts are made that consist of whole characters.
        cache: keys and values of the first prompt tokens (`prompt_cache`); None computes them.
    """
    width = input_ids_BS.shape[1]
    logits_to_keep = 0 if model.config.vocabulary <= MAX_VOCABULARY_FOR_PROMPT_LOGITS else 1
    in_one_chunk = decoding.uses_beams or len(input_ids_BS) == 1
    chunk = decoding.max_new_tokens if in_one_chunk else CHUNK_TOKENS
    end = -1 if decoding.eos_token_id is None else decoding.eos_token_id  # no token has the id -1
    row_B, written = torch.arange(len(input_ids_BS), device=input_ids_BS.device), 0
    finished: dict[int, list[int]] = {}
    while len(row_B):
        # Any: generate returns one of several output classes of transformers.
        output: Any = model.generate(
            input_ids_BS,
            attention_mask=mask_BS,
            cache=cache,
            generation_config=_chunk_config(decoding, written, chunk),
            logits_processor=logits_processors(decoding, key_B, width, tokens),
            stopping_criteria=StoppingCriteriaList([] if readers is None else [readers]),
            return_dict_in_generate=True,
            logits_to_keep=logits_to_keep,
            **pair_ids,
        )
        input_ids_BS, cache = output.sequences, output.cache
        written = input_ids_BS.shape[1] - width
        ended_B = (input_ids_BS[:, width:] == end).any(1)
        ended_B = ended_B | (in_one_chunk or written >= decoding.max_new_tokens)
        if readers is not None:
            ended_B = ended_B | torch.tensor(readers.stopped(), device=ended_B.device)
        finished |= zip(row_B[ended_B].tolist(), input_ids_BS[ended_B, width:].tolist(), strict=True)
        (kept_N,) = (~ended_B).nonzero(as_tuple=True)
        row_B, key_B, input_ids_BS, mask_BS = (each[kept_N] for each in (row_B, key_B, input_ids_BS, mask_BS))
        pair_ids = {name: id_B[kept_N] for name, id_B in pair_ids.items()}
        mask_BS = pad(mask_BS, (0, input_ids_BS.shape[1] - mask_BS.shape[1]), value=1)
        cache.batch_select_indices(kept_N)
        if readers is not None:
            readers.readers = [readers.readers[place] for place in kept_N.tolist()]
    return [finished[row] for row in sorted(finished)]


def _chunk_config(decoding: DecodingConfig, written: int, tokens: int) -> GenerationConfig:
    """Return the configuration of the next `tokens`; lengths count from here instead of from the prompt.

    Rules that are off are 0 here: transformers takes what is None from the model's own configuration.
    """
    chunk = decoding.to_generation_config()
    chunk.max_new_tokens = min(tokens, decoding.max_new_tokens - written)
    chunk.min_new_tokens = min(max((decoding.min_new_tokens or 0) - written, 0), chunk.max_new_tokens)
    if decoding.exponential_decay_length_penalty is not None:
        start, rate = decoding.exponential_decay_length_penalty
        chunk.exponential_decay_length_penalty = (start - written, rate)
    # `logits_processors` has these rules for the text alone. Those of transformers would count the prompt too.
    chunk.no_repeat_ngram_size, chunk.repetition_penalty = 0, None
    # `PairSampling` samples: its noise makes the sampled token the likeliest. Beams never sample, because their draws
    # could not depend on the pair alone.
    chunk.do_sample, chunk.temperature, chunk.top_p = False, None, None
    return chunk
