"""Fluency: the loss per word under a language model, with a model whose losses are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from gavamoe.evaluation.metrics.fluency import MAX_TOKENS, FluencyModel, natural_text
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import RowScores

WORDS = ["<s>", "?", "one", "two", "three", "four", "."]


def model(seed=0):
    """A tiny Llama over whole words."""
    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(WORDS)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    lm = LlamaForCausalLM(LlamaConfig(vocab_size=len(WORDS), bos_token_id=0, eos_token_id=0, **shape))
    return FluencyModel(lm, PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token="?"), "tiny")


def value(fluency, predictions, references=None):
    outputs = Outputs.from_texts(predictions, references or predictions)
    return RowScores(outputs, fluency.metrics).overall()["fluency"]


def test_a_uniform_model_loses_the_logarithm_of_its_vocabulary_per_token():
    fluency = model()
    torch.nn.init.zeros_(fluency.lm.lm_head.weight)
    # Five tokens, of which the full stop is no word.
    assert value(fluency, ["one two three four ."]) == pytest.approx(5 / 4 * np.log(len(WORDS)), rel=1e-5)


def test_a_model_that_knows_the_text_has_almost_no_loss_on_it_and_more_on_its_words_in_another_order():
    fluency = model()
    optimizer = torch.optim.Adam(fluency.lm.parameters(), lr=0.02)
    ids = torch.tensor([[0, 2, 3, 4, 5]])
    for _ in range(100):
        optimizer.zero_grad()
        fluency.lm(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    assert value(fluency, ["one two three four"]) < 0.05
    floor, ceiling = fluency.bounds(Outputs.from_texts(["x"], ["one two three four"]))
    assert ceiling < 0.05 < 1 < floor


def test_a_loss_depends_neither_on_the_batch_nor_on_the_order():
    fluency, texts = model(), ["one two .", "three", "four four four one two three", "", "two"]
    alone = [fluency.statistics(Outputs.from_texts([text], ["x"]))[0] for text in texts]
    np.testing.assert_allclose(fluency.statistics(Outputs.from_texts(texts, ["x"] * 5)), alone, rtol=1e-4)
    assert alone[3].tolist() == [0, 0]


def test_the_same_rows_are_measured_for_every_system_and_rows_without_reference_never(monkeypatch):
    monkeypatch.setattr("gavamoe.evaluation.metrics.fluency.MAX_ROWS", 2)
    fluency, references = model(), ["one", "two", "three", "four", ""]
    first = Outputs.from_texts(["one two"] * 5, references)
    first = replace(first, has_reference=[True, True, True, True, False])
    second = replace(first, predictions=[["two"]] * 5)
    measured = [set(np.flatnonzero(fluency.statistics(each)[:, 1])) for each in (first, second)]
    assert measured[0] == measured[1]
    assert len(measured[0]) == 2
    assert 4 not in measured[0]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("it ' s fun , really .", "it's fun, really."),
        ("a well - made film ( 2 hours ) !", "a well-made film (2 hours)!"),
    ],
)
def test_normalized_words_are_joined_as_people_write_them(words, text):
    assert natural_text(words.split()) == text


def test_a_long_text_is_measured_by_the_words_that_are_read():
    fluency = model()
    torch.nn.init.zeros_(fluency.lm.lm_head.weight)
    for words in (3, MAX_TOKENS - 1, MAX_TOKENS, MAX_TOKENS + 1, 3 * MAX_TOKENS):
        assert value(fluency, [" ".join(["one"] * words)]) == pytest.approx(np.log(len(WORDS)), rel=1e-5)
    assert value(fluency, ["one . . . " * MAX_TOKENS]) == pytest.approx(4 * np.log(len(WORDS)), rel=0.05)
