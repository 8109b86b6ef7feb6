"""Prompts and texts as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from gavamoe.language.prompt import SPECIAL_TOKENS, render
from gavamoe.language.tokenizer import as_message, token_name

IGNORED = -100  # the label of a position that takes no part in the loss


class PromptEncoder:
    """Token ids of a prompt; without evidence there are few different ones (levels x features), tokenized once each.

    A tokenizer with a chat template wraps the prompt as the user's message; one that begins texts with a token of its
    own begins the prompt with it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self._encode = lru_cache(PROMPTS_KEPT)(lambda text: tuple(_encode_prompt(tokenizer, text)))
        self._name = {mark: token_name(tokenizer, mark) for mark in SPECIAL_TOKENS}.__getitem__

    def __call__(self, level: int | None, feature: str | None, evidence: Sequence[str] = ()) -> list[int]:
        """`level` in 1..R or None, `feature` a word or None, `evidence` sentences."""
        return list(self._encode(render(level, feature, evidence, self._name)))


PROMPTS_KEPT = 10_000


def _encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    if tokenizer.chat_template:
        return tokenizer(as_message(tokenizer, prompt), add_special_tokens=False)["input_ids"]
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    begins = tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return [tokenizer.bos_token_id, *ids] if begins else ids


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Token ids of each explanation with the end token, cut to `max_tokens` before it.

    A cut text gets its end token too: a model that never sees one would never stop.
    """
    if not texts:
        return []
    encoded = tokenizer([" " + text.strip() for text in texts], add_special_tokens=False)["input_ids"]
    return [[*ids[:max_tokens], tokenizer.eos_token_id] for ids in encoded]


def decode_text(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """Token ids as text, white space evened out."""
    # Cleaning up would rewrite words that are already out when a later token comes (" n't" to "n't").
    return " ".join(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False).split())
