"""Prompts and explanations as token ids, and token ids as text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from gavamoe.errors import ConfigError
from gavamoe.language.budget import longest_that_fits
from gavamoe.language.prompt import ITEM, SPECIAL_TOKENS, USER, PromptFields, part_tokens, render_prompt
from gavamoe.language.template import PromptTemplate
from gavamoe.language.tokenizer import as_user_message, token_name
from gavamoe.language.whole_characters import token_bytes

IGNORED = -100  # label of a position that the loss ignores, as in torch's cross_entropy
PROMPT_CACHE_SIZE = 1_000


class PromptEncoder:
    """Turns the fields of a prompt into token ids; of the last thousand prompts, equal ones are tokenized once.

    Without evidence there are few different prompts of special tokens (levels x features); with a chat template, such a
    prompt becomes the user's message. If the tokenizer starts every text with a beginning-of-text token, the prompt
    starts with it too.

    A prompt in words is kept within the template's `max_tokens`: the last quotations are dropped first, then the
    description is cut, then categories are dropped, and name and feature are cut.

    Args:
        tokenizer: the model's. Its special tokens are read now: tokens that are added later are not known.
        template: the template of prompts in words; None for prompts of special tokens.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: PromptTemplate | None = None):
        chat = bool(tokenizer.chat_template) and (template is None or template.chat)
        self.tokenizer, self.template = tokenizer, template
        self._encode = lru_cache(PROMPT_CACHE_SIZE)(lambda prompt: tuple(_encode_prompt(tokenizer, prompt, chat)))
        self._token_name = {token: token_name(tokenizer, token) for token in SPECIAL_TOKENS}.__getitem__
        special = (str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)
        self._special_tokens = [token for token in special if len(token) > 1]

    def __call__(self, fields: PromptFields) -> list[int]:
        """Return the token ids of the prompt that states these fields.

        Raises:
            ConfigError: the template alone is longer than its `max_tokens`.
        """
        if self.template is None:
            special = self._special_tokens
            feature = None if fields.feature is None else part_tokens(fields.feature, special)
            evidence = [part_tokens(sentence, special) for sentence in fields.evidence]
            return list(self._encode(render_prompt(fields.level, feature, evidence, self._token_name)))
        fields = fields.protected(self._special_tokens)
        ids = longest_that_fits(fields, lambda kept: self._encode(self.text(kept)), self.template.max_tokens)
        if ids is None:
            raise ConfigError(
                f"explainer.prompt_tokens={self.template.max_tokens} is too few: the shortest prompt that the template "
                f"writes has {len(self._encode(self.text(PromptFields(fields.level))))} tokens; raise the setting or "
                "shorten the template"
            )
        return list(ids)

    def text(self, fields: PromptFields) -> str:
        """Return the prompt in words that states these fields, as long as they are."""
        assert self.template is not None
        return self.template.render(fields, self._token_name(USER), self._token_name(ITEM))

    def check_budget(self) -> None:
        """Raise `ConfigError` if a prompt in words that states a rating alone is too long."""
        for level in range(1, len(self.template.ratings) + 1 if self.template else 1):
            self(PromptFields(level))


def _encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str, chat: bool) -> list[int]:
    if chat:
        return tokenizer(as_user_message(tokenizer, prompt), add_special_tokens=False, verbose=False)["input_ids"]
    ids = tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]
    adds_bos = tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return [tokenizer.bos_token_id, *ids] if adds_bos else ids


def encode_plain(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of texts by users; the name of a special token in them, such as `<|end|>`, is plain text."""
    # Not verbose: transformers would warn of texts that are longer than the model's context, which are cut later.
    encoded = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False)
    ids: list[list[int]] = encoded["input_ids"]
    return ids


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
