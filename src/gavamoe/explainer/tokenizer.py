"""The tokenizer: byte-level BPE trained on the corpus, or a base model's own with the prompt's marks added."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from gavamoe.explainer.prompt import END, MARKS, PAD


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
        special_tokens=[PAD, END, *MARKS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(MARKS),
        clean_up_tokenization_spaces=False,
    )


def extend_tokenizer(tokenizer: PreTrainedTokenizerBase) -> int:
    """Add the marks (and a padding token where there is none) to a base model's tokenizer; return how many are new."""
    added = tokenizer.add_special_tokens({"additional_special_tokens": list(MARKS)}, replace_extra_special_tokens=False)
    if tokenizer.pad_token is None:
        added += tokenizer.add_special_tokens({"pad_token": PAD})
    if tokenizer.eos_token is None:
        added += tokenizer.add_special_tokens({"eos_token": END})
    return added


def mark_id(tokenizer: PreTrainedTokenizerBase, mark: str) -> int:
    """The id of one of the prompt's marks."""
    return int(tokenizer.convert_tokens_to_ids(mark))
