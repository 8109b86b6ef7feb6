"""Texts of whole characters: no choice of tokens, however unlikely, decodes to U+FFFD."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import LogitsProcessor, PreTrainedTokenizerFast

from gavamoe.language.encoding import decode_text, encode_texts
from gavamoe.language.tokenizer import train_tokenizer
from gavamoe.language.whole_characters import REJECT, START, TokenBytes, WholeCharacters, token_bytes

TEXTS = ["很好看。推荐！", "a fine café", "जल्दी आया", "👍🏽 𠮷野家", "\ufffd"]
TRAINED = train_tokenizer(TEXTS * 9, 320)


def _with_byte_fallback() -> PreTrainedTokenizerFast:
    pieces = ["<unk>", "<|end|>", "▁", "a", "▁fine", "好", "é", *(f"<0x{byte:02X}>" for byte in range(256))]
    backend = Tokenizer(models.BPE({piece: place for place, piece in enumerate(pieces)}, [], byte_fallback=True))
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", unk_token="<unk>")


TOKENIZERS = {"byte level": TRAINED, "byte fallback": _with_byte_fallback()}


def generate(tokenizer, scores, prompt=(), sampling=None, beams=False) -> list[list[int]]:
    """Choose the likeliest token again and again under given scores, [steps, B, V]."""
    ids = torch.tensor([prompt] * scores.shape[1], dtype=torch.long).reshape(scores.shape[1], len(prompt))
    processor = WholeCharacters(token_bytes(tokenizer), len(prompt), sampling, beams)
    for step in scores:
        ids = torch.cat([ids, processor(ids, step).argmax(-1, keepdim=True)], dim=1)
    return ids[:, len(prompt) :].tolist()


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), beams=st.booleans())
def test_no_choice_of_tokens_shows_a_replacement_character(name, seed, beams):
    tokenizer = TOKENIZERS[name]
    scores = torch.randn((14, 3, len(tokenizer)), generator=torch.Generator().manual_seed(seed))
    scores[:, :, : len(tokenizer) - 256] -= 1  # parts of characters are likelier than words
    prompt = tokenizer.convert_tokens_to_ids(["a", "a", "a"])
    for ids in generate(tokenizer, scores, prompt, beams=beams):
        for length in range(len(ids) + 1):  # wherever the text is cut off
            assert "\ufffd" not in decode_text(tokenizer, ids[:length])


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=40)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=9))
def test_every_text_can_be_written_and_keeps_its_scores_to_the_bit(name, text):
    tokenizer = TOKENIZERS[name]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids:
        return
    processor = WholeCharacters(token_bytes(tokenizer), 0)
    scores = torch.randn(1, len(tokenizer))
    for place, token in enumerate(ids):
        scores[0, token] = scores.max() + 1
        assert torch.equal(processor(torch.tensor([ids[:place]], dtype=torch.long).reshape(1, place), scores), scores)
    assert token_bytes(tokenizer).complete_length(ids) == len(ids)


def test_the_end_token_waits_for_the_rest_of_a_character():
    half, end = TRAINED("𠮷", add_special_tokens=False)["input_ids"][:-1], TRAINED.eos_token_id
    scores = torch.zeros(1, len(TRAINED))
    scores[0, end] = 9
    processor = WholeCharacters(token_bytes(TRAINED), 0)
    assert processor(torch.tensor([half]), scores).argmax() != end
    assert processor(torch.tensor([half[:0]], dtype=torch.long), scores).argmax() == end


class OnlyTheLikeliest(LogitsProcessor):
    def __call__(self, input_ids, scores):
        return scores.masked_fill(scores < scores.amax(-1, keepdim=True), -torch.inf)


def test_where_sampling_leaves_no_valid_token_the_likeliest_valid_one_is_taken():
    first, *rest = TRAINED("𠮷", add_special_tokens=False)["input_ids"]
    scores = torch.zeros(1, len(TRAINED))
    scores[0, first], scores[0, rest[0]] = 9.0, 5.0
    processor = WholeCharacters(token_bytes(TRAINED), 0, OnlyTheLikeliest())
    assert processor(torch.tensor([[first]]), scores).argmax() == rest[0]


def test_a_model_may_have_more_tokens_than_its_tokenizer():
    half = TRAINED("𠮷", add_special_tokens=False)["input_ids"][:1]
    scores = torch.zeros(2, len(TRAINED) + 8)
    scores[:, -1] = 9
    ids = torch.tensor([half, [len(TRAINED) + 3]])
    assert (WholeCharacters(token_bytes(TRAINED), 0)(ids, scores).argmax(-1) == len(TRAINED) + 7).tolist() == [
        False,
        True,
    ]


def test_no_training_text_is_cut_within_a_character():
    for max_tokens in range(1, 12):
        (ids,) = encode_texts(TRAINED, ["𠮷野家 is fine"], max_tokens)
        assert "\ufffd" not in TRAINED.decode(ids[:-1])
    assert encode_texts(TRAINED, ["a fine café"], 3)[0][:-1] == TRAINED(" a fine café")["input_ids"][:3]


def test_states_are_those_of_python_s_decoder():
    table = TokenBytes.from_tokenizer(TRAINED)
    one_byte = {bytes([byte]): state for byte, state in enumerate(_first_states(table))}
    for byte, state in one_byte.items():
        try:
            byte.decode()
            expected = START
        except UnicodeDecodeError as error:
            expected = None if "unexpected end" in error.reason else REJECT
        assert state == expected if expected is not None else state not in (START, REJECT)


def _first_states(table):
    from gavamoe.language.whole_characters import _byte_table

    return _byte_table()[START].tolist()


def test_tokenizers_whose_tokens_are_whole_need_no_table():
    backend = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    assert token_bytes(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")) is None
