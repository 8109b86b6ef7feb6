"""Generation in batches, chunks, with beams and as a stream gives the same texts."""

import threading

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gavamoe.conditions import Condition
from gavamoe.errors import ConfigError, DataError
from gavamoe.explainer.streaming import TextReader, stream
from gavamoe.language.decoding_config import BEAM_OPTIONS, FURTHER_OPTIONS
from gavamoe.language.encoding import decode_text
from gavamoe.language.tokenizer import train_tokenizer

COUNT = 10
GIVEN = Condition("given", "given")
GREEDY = {"do_sample": False}


@pytest.fixture(scope="module")
def pairs() -> pl.DataFrame:
    """Return pairs with prompts of several lengths, so that batches are padded."""
    features = ["music", "", "the cast of extras", "pace", "a very long feature indeed"] * 2
    return pl.DataFrame(
        {
            "user": [f"u{i + 1:02d}" for i in range(COUNT)],
            "item": [f"i{i % 19 + 1:02d}" for i in range(COUNT)],
            "rating": [float(i % 5 + 1) for i in range(COUNT)],
            "feature": features,
        }
    )


@pytest.fixture(scope="module")
def alone(explainer, pairs) -> list[str]:
    return [explainer.explain_batch(pairs[row], GIVEN, **GREEDY)[0].text for row in range(COUNT)]


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(COUNT)), cut=st.integers(1, COUNT))
def test_a_greedy_text_does_not_depend_on_order_or_batch(explainer, pairs, alone, order, cut):
    texts = [
        explanation.text
        for rows in (order[:cut], order[cut:])
        for explanation in (explainer.explain_batch(pairs[rows], GIVEN, **GREEDY) if rows else [])
    ]
    assert texts == [alone[row] for row in order]


@pytest.mark.parametrize(
    "options",
    [{"do_sample": True, "candidates": 4}, GREEDY, GREEDY | {"min_new_tokens": 7}, GREEDY | {"max_new_tokens": 7}],
)
def test_a_text_is_the_same_in_any_number_of_chunks(explainer, pairs, monkeypatch, options):
    assert_same_in_any_chunks(explainer, pairs, monkeypatch, options)


def assert_same_in_any_chunks(explainer, pairs, monkeypatch, options):
    def texts(chunk):
        monkeypatch.setattr("gavamoe.explainer.generate.CHUNK_TOKENS", chunk)
        return [(e.text, e.finished) for e in explainer.explain_batch(pairs, GIVEN, **options)]

    assert texts(3) == texts(1000)


@pytest.mark.parametrize("name", FURTHER_OPTIONS)
def test_an_option_of_transformers_changes_texts_and_never_by_their_batch(explainer, pairs, alone, monkeypatch, name):
    words = explainer.tokenizer(" the", add_special_tokens=False)["input_ids"]
    second = explainer.tokenizer(alone[0], add_special_tokens=False)["input_ids"][1]
    beams = {"num_beams": 3} if name in BEAM_OPTIONS else {}
    values = {
        "repetition_penalty": 1.5,
        "bad_words_ids": [words, [second]],
        "suppress_tokens": [second],
        "sequence_bias": [[[second], -20.0]],
        "length_penalty": -8.0,
        "early_stopping": True,
    }
    options = GREEDY | beams | {name: values[name]}
    texts = [explanation.text for explanation in explainer.explain_batch(pairs, GIVEN, **options)]
    singly = [explainer.explain_batch(pairs[row], GIVEN, **options)[0].text for row in range(COUNT)]
    assert texts == singly
    if name != "early_stopping":  # which only ends the search of beams earlier
        assert texts != [e.text for e in explainer.explain_batch(pairs, GIVEN, **GREEDY, **beams)]
    assert_same_in_any_chunks(explainer, pairs, monkeypatch, options)


def test_lists_that_do_not_fit_the_pairs_are_refused(explainer, pairs):
    history = [{"item": "i01", "rating": 4.0}]
    with pytest.raises(DataError, match="histories: expected one for each of 10 pairs, found 1"):
        explainer.explain_batch(pairs, histories=[history])
    with pytest.raises(DataError, match="readers: expected one for each of 10 pairs, found 2"):
        explainer.explain_batch(pairs, readers=[TextReader(), TextReader()])
    with pytest.raises(DataError, match="texts: expected one for each of 10 pairs, found 1"):
        explainer.text_losses(pairs, ["a text"])
    with pytest.raises(ConfigError, match="evidence=-1: expected a number of sentences, 0 or more"):
        explainer.explain_batch(pairs, evidence=-1)


def test_no_pairs_have_no_explanations(explainer):
    assert explainer.explain_batch([], experts=True) == []


def test_an_empty_given_feature_is_no_feature(explainer, pairs):
    without, with_one = explainer.explain_batch(pairs[[1, 0]], GIVEN, **GREEDY)
    assert (without.feature, with_one.feature) == (None, "music")


def test_beam_search_of_a_batch_is_that_of_each_pair(explainer, pairs):
    options = {"do_sample": False, "num_beams": 3}
    together = explainer.explain_batch(pairs, GIVEN, **options)
    assert [e.text for e in together] == [
        explainer.explain_batch(pairs[row], GIVEN, **options)[0].text for row in range(COUNT)
    ]
    gates = explainer.context.build(pairs, GIVEN)[0].gate
    assert len(np.unique(gates)) > 1  # otherwise a mix-up would go unnoticed


def test_beams_never_sample_and_temperature_0_is_greedy(explainer, pairs):
    def texts(**options):
        return [e.text for e in explainer.explain_batch(pairs, GIVEN, **options)]

    assert texts(do_sample=True, temperature=0.9, num_beams=3) == texts(do_sample=False, num_beams=3)
    assert texts(do_sample=True, temperature=0) == texts(**GREEDY)


def consume(words):
    """Return the pieces of a stream and its return value."""
    pieces = []
    while True:
        try:
            pieces.append(next(words))
        except StopIteration as stop:
            return pieces, stop.value


@pytest.mark.parametrize(
    "decoding", [{}, GREEDY, {"do_sample": False, "num_beams": 2}, {"max_new_tokens": 3}, {"candidates": 3}]
)
def test_a_streamed_text_is_the_text_of_explain(explainer, decoding):
    for user in ("u01", "u02", "nobody"):
        pieces, returned = consume(explainer.stream(user, "i03", **decoding))
        expected = explainer.explain(user, "i03", **{"candidates": 1, **decoding})
        assert "".join(pieces) == expected.text
        assert returned == expected
        assert all(piece.startswith(" ") for piece in pieces[1:])  # whole words
    if not decoding:
        assert len(pieces) > 2


def test_a_stream_takes_the_arguments_of_explain(explainer):
    steps = []
    arguments = {"condition": Condition("none", "none"), "seed": 3, "evidence": 1}
    pieces, returned = consume(
        explainer.stream("u01", "i03", advance=lambda step, text: steps.append(step), **arguments)
    )
    assert "".join(pieces) == returned.text
    assert returned == explainer.explain("u01", "i03", candidates=1, **arguments)
    assert (returned.conditions["rating"], returned.conditions["feature"], steps) == ("none", "none", [1])
    for call in (explainer.explain, lambda *pair, **options: list(explainer.stream(*pair, **options))):
        with pytest.raises(ConfigError, match="no decoding option 'temperatur'; did you mean temperature"):
            call("u01", "i03", temperatur=0.7)


def test_closing_a_stream_early_ends_its_thread(explainer):
    before = threading.active_count()
    words = explainer.stream("u01", "i03", max_new_tokens=400, min_new_tokens=400)
    next(words)
    assert threading.active_count() == before + 1
    words.close()
    assert threading.active_count() == before
    assert explainer.explain("u01", "i03").text  # the model is available again


def test_an_exception_while_generating_reaches_the_reader():
    with pytest.raises(ZeroDivisionError):
        list(stream(lambda reader: 1 // 0))


TOKENIZER = train_tokenizer(["a fine film , café crème", "很好看推荐"] * 3, 300)


def read_pieces(text):
    """Return the pieces that a text is sent in, how many of them come before its end, and the decoded text."""
    ids, pieces = TOKENIZER(text, add_special_tokens=False)["input_ids"], []
    reader = TextReader(send=pieces.append)
    for count in range(1, len(ids) + 1):
        reader.read(TOKENIZER, ids[:count])
    sent_early, decoded = len(pieces), decode_text(TOKENIZER, ids)
    reader.finish(decoded)
    return pieces, sent_early, decoded


@given(text=st.text(max_size=30))
def test_streamed_words_join_to_the_text_for_any_characters(text):
    pieces, _, decoded = read_pieces(text)
    assert "".join(pieces) == decoded


@pytest.mark.parametrize("text", ["很好看。推荐！", "料理がとても", "ที่นี่ดีมาก", "a fine film"])
def test_a_reader_receives_words_before_the_end_in_every_script(text):
    pieces, sent_early, decoded = read_pieces(text)
    assert "".join(pieces) == decoded == text
    assert sent_early > 1


def test_the_rule_of_transformers_that_counts_ngrams_of_the_prompt_is_never_used(explainer, pairs, monkeypatch):
    used = []
    monkeypatch.setattr("transformers.generation.utils.NoRepeatNGramLogitsProcessor", lambda size: used.append(size))
    monkeypatch.setattr(explainer.model.generation_config, "no_repeat_ngram_size", 3)
    assert all(explanation.text for explanation in explainer.explain_batch(pairs, GIVEN, candidates=2))
    assert used == []
