"""The fast metrics equal their plain definitions on random texts."""

from __future__ import annotations

import pytest
from helpers import oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from gavamoe.errors import DataError
from gavamoe.evaluation.score import LOWER_IS_BETTER, STANDARD_METRICS, score_ratings, score_texts

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Few words, so that repeats, matches and empty texts are the rule.
WORDS = ("the", "room", "was", "clean", "pool", ".")
TEXT = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
ROW = st.tuples(TEXT, TEXT, st.sampled_from(["room", "pool", "staff", "", None]))
FEATURES = st.sets(st.sampled_from(["room", "pool", "staff", "clean"]))


@given(st.lists(ROW, min_size=1, max_size=8), FEATURES)
@settings(max_examples=300)
def test_every_text_metric_equals_its_definition(rows: list, feature_set: set[str]) -> None:
    predictions, references, features = zip(*rows, strict=True)
    expected = oracle.score(predictions, references, features, feature_set)
    scored = score_texts(predictions, references, features, feature_set)
    assert scored.keys() == expected.keys()
    for name, value in expected.items():
        assert scored[name] == pytest.approx(value, abs=1e-9), name


@given(st.lists(TEXT, min_size=1, max_size=8))
def test_a_text_equal_to_its_reference_has_the_highest_score(texts: list[str]) -> None:
    scored = score_texts(texts, texts)
    # Full overlap scores 1 / (1 + 0.5e-8) in the original's arithmetic.
    for words, name in ((1, "rouge_1/f_score"), (2, "rouge_2/f_score"), (1, "rouge_l/r_score")):
        share = sum(len(text.split()) >= words for text in texts) / len(texts)
        assert scored[name] == pytest.approx(100 * share, abs=1e-5)
    assert scored["BLEU-4"] == pytest.approx(100 if any(len(text.split()) >= 4 for text in texts) else 0)


def test_an_empty_prediction_counts_as_zero() -> None:
    full = score_texts(["good room"], ["good room"])
    half = score_texts(["good room", ""], ["good room", "bad pool"])
    for name in ("rouge_1/f_score", "rouge_2/f_score", "rouge_l/f_score"):
        assert half[name] == pytest.approx(full[name] / 2)
    assert half["USN"] == 2


def test_empty_texts_alone_have_defined_values() -> None:
    scored = score_texts(["", ""], ["", ""], ["pool", "pool"], ["pool"])
    assert scored["BLEU-1"] == scored["rouge_l/f_score"] == scored["Distinct-2"] == scored["FMR"] == scored["DIV"] == 0
    assert scored["USR"] == 0.5


def test_rouge_counts_an_n_gram_once_per_text_and_bleu_clips_it() -> None:
    scored = score_texts(["the the the"], ["the pool"])
    assert scored["rouge_1/p_score"] == 100
    assert scored["BLEU-1"] == pytest.approx(100 / 3)


def test_rouge_l_weighs_by_precision_over_recall() -> None:
    # Two words of four in order, of a reference of two: P = .5, R = 1, beta = .5, F = 1.25 * .5 / (1 + .25 * .5).
    assert score_texts(["the pool was clean"], ["pool clean"])["rouge_l/f_score"] == pytest.approx(100 * 0.625 / 1.125)


def test_feature_metrics_are_undefined_without_features() -> None:
    scored = score_texts(["a pool"], ["a pool"])
    assert [scored[name] for name in ("FMR", "FCR", "DIV")] == [None, None, None]
    blank = score_texts(["a pool", "b"], ["a pool", "b"], [None, ""], ["pool"])
    assert blank["FMR"] is None
    assert blank["FCR"] == 1
    assert blank["DIV"] == 0


def test_a_feature_of_several_words_needs_them_adjacent_and_in_order() -> None:
    scored = score_texts(["the front desk", "desk at the front"], ["x", "x"], ["front desk"] * 2, ["front desk"])
    assert scored["FMR"] == 0.5


def test_ratings_are_clipped_to_the_scale_before_they_are_compared() -> None:
    assert score_ratings([9, 0, 3], [5, 1, 2], 1, 5) == pytest.approx({"RMSE": (1 / 3) ** 0.5, "MAE": 1 / 3})


def test_a_row_without_a_rating_does_not_count_for_rating_errors() -> None:
    assert score_ratings([4, 2], [3, float("nan")], 1, 5) == {"RMSE": 1, "MAE": 1}


def test_columns_of_different_lengths_and_no_rows_are_refused() -> None:
    for columns in ((["a"], ["a", "b"]), ([], []), (["a"], ["a"], ["x", "y"])):
        with pytest.raises(DataError, match="as many rows"):
            score_texts(*columns)


def test_every_metric_has_a_unique_name_and_a_source() -> None:
    names = [metric.name for metric in STANDARD_METRICS]
    assert len(set(names)) == len(names)
    assert all(metric.source for metric in STANDARD_METRICS)
    assert {
        "DIV",
        "RMSE",
        "MAE",
        "rating NLL",
        "rating ECE",
        "rep-2",
        "feature hallucination",
        "genericness",
        "statement_contradicted",
        "statement_unmentioned",
        "fluency",
    } == LOWER_IS_BETTER
