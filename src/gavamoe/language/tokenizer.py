"""The tokenizer: byte-level BPE trained on the corpus, or a base model's own with the prompt's marks added."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from gavamoe.language.prompt import END, PAD, SPECIAL_TOKENS

# Templates that know these words then say the same on every day, and open no chain of thought.
CHAT = {"add_generation_prompt": True, "enable_thinking": False, "date_string": "1 January 2026"}


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE: any text can be written, none is unknown. At most `vocabulary` tokens with the marks."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    # A leading space makes the first word the same token as everywhere else.
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
    """Add the marks (and a padding token where there is none) to a base model's tokenizer; return how many are new.

    A mark that the base has for a token, or writes around a message (Zephyr's `<|user|>`), stays the base's; ours gets
    the name that `token_name` then finds.
    """
    vocabulary, message = tokenizer.get_vocab(), as_message(tokenizer, "a")
    marks = [_apart(mark) if mark in vocabulary or mark in message else mark for mark in SPECIAL_TOKENS]
    added = tokenizer.add_special_tokens({"additional_special_tokens": marks}, replace_extra_special_tokens=False)
    if tokenizer.pad_token is None:
        added += tokenizer.add_special_tokens({"pad_token": PAD})
    if tokenizer.eos_token is None:
        added += tokenizer.add_special_tokens({"eos_token": END})
    return added


def as_message(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """`text` as the user's message to a tokenizer with a chat template, up to where the answer begins; else itself."""
    if not tokenizer.chat_template:
        return text
    return str(tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False, **CHAT))


def token_name(tokenizer: PreTrainedTokenizerBase, mark: str) -> str:
    """What one of the prompt's marks is called in this tokenizer."""
    return _apart(mark) if _apart(mark) in tokenizer.get_added_vocab() else mark


def special_token_id(tokenizer: PreTrainedTokenizerBase, mark: str) -> int:
    """The id of one of the prompt's marks."""
    return int(tokenizer.convert_tokens_to_ids(token_name(tokenizer, mark)))


def _apart(mark: str) -> str:
    return mark.replace("<|", "<|gavamoe-")
