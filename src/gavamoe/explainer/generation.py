"""Explanations for many pairs: batched, left-padded, sorted by length; a pair's text does not depend on its batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase

from gavamoe.config import ExplainerConfig
from gavamoe.explainer.consensus import most_agreed
from gavamoe.explainer.decoding import decode
from gavamoe.explainer.examples import PairColumns, PromptEncoder, encode_texts
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.sampling import pair_keys
from gavamoe.explainer.streaming import WordStreamer, to_text

BATCH = 256
TEXTS_KEPT = 10_000  # of people, as tokens


# A loop of words is not an explanation; and a text that grows long is led to its end, not cut off.
NO_REPEAT_NGRAM = 3
WIND_UP_FROM, WIND_UP_RATE = 0.6, 1.1
DECODING = ("temperature", "top_p", "candidates", "heard")  # settings of `ExplainerConfig` that no weight depends on


def generation_settings(config: ExplainerConfig, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """How a run's texts are decoded, as transformers keeps it (generation_config.json)."""
    sampling = {
        "do_sample": True,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "candidates": config.candidates,
        "heard": config.heard,
    }
    return GenerationConfig(
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=config.max_tokens + 1,
        no_repeat_ngram_size=NO_REPEAT_NGRAM,
        exponential_decay_length_penalty=(int(WIND_UP_FROM * config.max_tokens), WIND_UP_RATE),
        **(sampling if config.temperature > 0 else {"do_sample": False}),
    )


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
    pairs: PairColumns,
    generation: GenerationConfig,
    seed: int = 0,
    streamer: WordStreamer | None = None,
    batch_size: int = BATCH,
) -> Iterator[tuple[int, Generated]]:
    """Yield (row, text) for every pair, in an order of our choosing: prompts of one length together.

    With `generation.do_sample` (and no beams), temperature and top_p apply and `seed` counts (see `PairSampling`), and
    of `generation.candidates` drafts the `most_agreed` is kept, by the others and by `generation.heard` sentences of
    each group of `pairs.people`. A `streamer` gets the tokens of a single pair as they are written, of a single draft.
    batch_size: sequences at once, drafts counted.
    """
    model.eval()
    encode = PromptEncoder(tokenizer)
    prompts = [
        encode(level, feature, pairs.evidence(row, feature))
        for row, (level, feature) in enumerate(zip(pairs.level, pairs.feature, strict=True))
    ]
    heard = lru_cache(TEXTS_KEPT)(lambda text: encode_texts(tokenizer, [text], generation.max_new_tokens)[0][:-1])
    by_length = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    drafts, end = drafts_of(generation), tokenizer.eos_token_id
    count = int(getattr(generation, "heard", None) or 0)
    step = max(1, batch_size // drafts)
    for start in range(0, len(by_length), step):
        rows = by_length[start : start + step]
        drawn = [row for row in rows for _ in range(drafts)]
        sequences = _generate_batch(model, tokenizer, pairs, prompts, drawn, generation, seed, streamer)
        for place, row in enumerate(rows):
            people = [[heard(text) for text in texts] for texts in pairs.people(row, count)] if drafts > 1 else []
            ids, finished = choose(sequences[place * drafts : (place + 1) * drafts], end, *people)
            yield row, Generated(to_text(tokenizer, ids), prompts[row], ids, finished)


def drafts_of(generation: GenerationConfig) -> int:
    """How many drafts of each text are drawn; without sampling all would be the same."""
    sampled = generation.do_sample and (generation.num_beams or 1) == 1
    return int(getattr(generation, "candidates", None) or 1) if sampled else 1


def choose(drafts: Sequence[list[int]], end: int, *people: Sequence[Sequence[int]]) -> tuple[list[int], bool]:
    """The draft to keep, without its end token and what follows, and whether it ended; one that did not is the last.

    people: groups of people's texts, to which the draft should be alike too.
    """
    cut = [(ids[: ids.index(end)], True) if end in ids else (ids, False) for ids in drafts]
    kept = [draft for draft in cut if draft[1]] or cut
    return kept[most_agreed([ids for ids, _ in kept], *people)]


def _generate_batch(
    model: GavamoeForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    pairs: PairColumns,
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
