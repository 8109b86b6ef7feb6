"""Prompts and explanations as token ids, and token ids as text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from gavamoe.language.prompt import SPECIAL_TOKENS, render_prompt
from gavamoe.language.quiet import quiet_transformers
from gavamoe.language.tokenizer import as_user_message, token_name
from gavamoe.language.whole_characters import token_bytes

IGNORED = -100  # label of a position that the loss ignores, as in torch's cross_entropy
PROMPT_CACHE_SIZE = 10_000


class PromptEncoder:
    """Turns the fields of a prompt into token ids; equal prompts are tokenized once.

    Without evidence there are few different prompts (levels x features). With a chat template, the prompt becomes the
    user's message. If the tokenizer starts every text with a beginning-of-text token, the prompt starts with it too.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self._encode = lru_cache(PROMPT_CACHE_SIZE)(lambda prompt: tuple(_encode_prompt(tokenizer, prompt)))
        self._token_name = {token: token_name(tokenizer, token) for token in SPECIAL_TOKENS}.__getitem__
        self._special_tokens = [token for token in tokenizer.all_special_tokens if len(token) > 1]

    def __call__(self, level: int | None, feature: str | None, evidence: Sequence[str] = ()) -> list[int]:
        """Return the token ids of the prompt with a rating level in 1..R, a feature and sentences to quote."""
        plain = None if feature is None else self._plain(feature)
        prompt = render_prompt(level, plain, [self._plain(sentence) for sentence in evidence], self._token_name)
        return list(self._encode(prompt))

    def _plain(self, text: str) -> str:
        """Return a text by a user with a space inside every name of a special token, which would act as the token."""
        for token in self._special_tokens:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text


@quiet_transformers()
def _encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    if tokenizer.chat_template:
        return tokenizer(as_user_message(tokenizer, prompt), add_special_tokens=False)["input_ids"]
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    adds_bos = tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return [tokenizer.bos_token_id, *ids] if adds_bos else ids


def encode_plain(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of texts by users; the name of a special token in them, such as `<|end|>`, is plain text."""
    encoded = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)
    ids: list[list[int]] = encoded["input_ids"]
    return ids


@quiet_transformers()
def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Return the token ids of each explanation, at most `max_tokens` of them, followed by the end token.

    A text that is cut ends with the end token too: a model that never sees the token would never stop. No text is cut
    within a character.
    """
    if not texts:
        return []
    encoded = encode_plain(tokenizer, [" " + text.strip() for text in texts])
    return [[*_cut(tokenizer, ids, max_tokens), tokenizer.eos_token_id] for ids in encoded]


def _cut(tokenizer: PreTrainedTokenizerBase, ids: list[int], max_tokens: int) -> list[int]:
    """Return the first tokens of a text, up to the last whole character."""
    return ids if len(ids) <= max_tokens else _whole(tokenizer, ids[:max_tokens])


def _whole(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[int]:
    """Return token ids without the incomplete last character that they may end in."""
    table = token_bytes(tokenizer)
    return ids if table is None else ids[: table.complete_length(ids)]


def decode_text(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """Return token ids as text without special tokens, every run of white space as one space.

    A text that was cut off within a character ends before that character.
    """
    # Clean-up would rewrite streamed words once a later token arrives (" n't" becomes "n't").
    return " ".join(
        tokenizer.decode(_whole(tokenizer, ids), skip_special_tokens=True, clean_up_tokenization_spaces=False).split()
    )
