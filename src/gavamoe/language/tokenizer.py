"""The tokenizer: byte-level BPE trained on the corpus, or a base model's own with the prompt's special tokens added."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from gavamoe.language.prompt import END, PAD, SPECIAL_TOKENS

# Variables of chat templates that know them: a fixed date, and no chain of thought before the answer.
CHAT_VARIABLES = {"add_generation_prompt": True, "enable_thinking": False, "date_string": "1 January 2026"}


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer, which can write any text and needs no unknown token.

    Args:
        texts: the training texts.
        vocabulary: largest number of tokens, special tokens included.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    # A leading space makes the first word of a text the same token as elsewhere.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[PAD, END, *SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(SPECIAL_TOKENS),
        clean_up_tokenization_spaces=False,
    )


def add_special_tokens(tokenizer: PreTrainedTokenizerBase) -> int:
    """Add the prompt's special tokens to a base model's tokenizer in place.

    A padding or end token is added where there is none. A name that the base uses, as a token or in its chat template
    (Zephyr's `<|user|>`), stays the base's; the prompt's token then gets the name that `token_name` returns.

    Returns:
        How many tokens are new.
    """
    vocabulary, message = tokenizer.get_vocab(), as_user_message(tokenizer, "a")
    names = [_prefixed(token) if token in vocabulary or token in message else token for token in SPECIAL_TOKENS]
    added = tokenizer.add_special_tokens({"additional_special_tokens": names}, replace_extra_special_tokens=False)
    if tokenizer.pad_token is None:
        added += tokenizer.add_special_tokens({"pad_token": PAD})
    if tokenizer.eos_token is None:
        added += tokenizer.add_special_tokens({"eos_token": END})
    return added


def as_user_message(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """Return `text` as the user's message of a chat, up to where the answer starts; unchanged without a template."""
    if not tokenizer.chat_template:
        return text
    return str(tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False, **CHAT_VARIABLES))


def token_name(tokenizer: PreTrainedTokenizerBase, token: str) -> str:
    """Return the name that one of SPECIAL_TOKENS has in this tokenizer."""
    return _prefixed(token) if _prefixed(token) in tokenizer.get_added_vocab() else token


def special_token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    """Return the id of one of SPECIAL_TOKENS in this tokenizer."""
    return int(tokenizer.convert_tokens_to_ids(token_name(tokenizer, token)))


def _prefixed(token: str) -> str:
    return token.replace("<|", "<|gavamoe-")
