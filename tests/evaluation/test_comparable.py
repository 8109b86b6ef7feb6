"""Texts are normalized alike for every system, and the features of an item are those its training reviews mention."""

from __future__ import annotations

import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gavamoe.baselines.data import TextData
from gavamoe.baselines.simple import RandomSentence
from gavamoe.config import ExplainerConfig
from gavamoe.data.dataset import ReviewDataset
from gavamoe.evaluation.comparable import features_of_items, normalize_and_truncate, truncate
from gavamoe.pipeline.eval_set import EvalSet
from gavamoe.pipeline.evaluation import evaluate_system
from gavamoe.words import normalize_text

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Great room, bad pool!", "great room , bad pool !"),
        ("It's 2.5 stars (of 1,000)", "it ' s 2.5 stars ( of 1,000 )"),
        ("well-made...", "well - made . . ."),
        ("  Zimmer\tund\nFrühstück  ", "zimmer und frühstück"),
        ("snake_case", "snake _ case"),
        ("很好看。", "很 好 看 。"),
        ("", ""),
    ],
)
def test_normalize_lowercases_and_splits_punctuation(text: str, words: str) -> None:
    assert normalize_text(text) == words


@given(st.text())
def test_normalize_is_idempotent(text: str) -> None:
    assert normalize_text(normalize_text(text)) == normalize_text(text)


@given(st.text())
def test_normalize_changes_only_case_composition_and_white_space(text: str) -> None:
    composed = unicodedata.normalize("NFC", text).lower().lower()
    assert "".join(normalize_text(text).split()) == "".join(unicodedata.normalize("NFC", composed).split())


@given(st.text(), st.integers(0, 10))
def test_truncate_keeps_the_first_words(text: str, words: int) -> None:
    assert truncate(text, words).split() == text.split()[:words]


def test_features_of_items_ignore_case_and_punctuation():
    train = pl.DataFrame({"item_id": [1, 1, 2], "text": ["The POOL, first.", "a bar", "front desk staff"]})
    reviews = pl.DataFrame({"item_id": [2, 1, 3, 0]})
    found = features_of_items(train, reviews, ["pool", "bar", "front desk", "view"])
    assert [set(features) for features in found] == [{"front desk"}, {"pool", "bar"}, set(), set()]
    assert features_of_items(train, reviews, []) is None


def test_a_training_sentence_of_the_item_has_no_hallucination(explainer, dataset_path):
    dataset = ReviewDataset.load(dataset_path)
    train, test = dataset.interactions("train"), dataset.interactions("test")
    system = RandomSentence()
    system.train(TextData(train, train.clear(), explainer.catalog, ExplainerConfig()), seed=0)
    reviewed = train.select("item_id").unique()
    metrics = evaluate_system(system, EvalSet.from_reviews(test.join(reviewed, on="item_id"), explainer.catalog, train))
    assert metrics["feature hallucination"] == 0
    swapped = test.with_columns(item_id=pl.col("item_id").reverse())
    one = EvalSet.from_reviews(swapped, explainer.catalog, train.head(1))
    assert evaluate_system(system, one)["feature hallucination"] > 0


@pytest.mark.parametrize("text", ["It's 2.5 stars!", "", "word " * 30])
def test_normalize_and_truncate_is_idempotent(text):
    assert normalize_and_truncate(normalize_and_truncate(text)) == normalize_and_truncate(text)
    assert len(normalize_and_truncate(text).split()) <= 20
