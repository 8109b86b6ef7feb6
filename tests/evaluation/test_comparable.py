"""Whoever wrote a text, it is scored on the same terms, and what it may say of an item is what training said."""

from __future__ import annotations

import polars as pl
import pytest

from gavamoe.baselines.data import TextData
from gavamoe.baselines.simple import RandomSentence
from gavamoe.config import ExplainerConfig
from gavamoe.data.dataset import ReviewDataset
from gavamoe.evaluation.comparable import comparable, features_of_items
from gavamoe.pipeline.eval_set import EvalSet
from gavamoe.pipeline.evaluation import evaluate_system


def test_what_training_texts_say_of_an_item_is_found_whatever_their_case_and_punctuation():
    train = pl.DataFrame({"item_id": [1, 1, 2], "text": ["The POOL, first.", "a bar", "front desk staff"]})
    asked = pl.DataFrame({"item_id": [2, 1, 3, 0]})
    found = features_of_items(train, asked, ["pool", "bar", "front desk", "view"])
    assert [set(features) for features in found] == [{"front desk"}, {"pool", "bar"}, set(), set()]
    assert features_of_items(train, asked, []) is None


def test_a_sentence_that_was_said_of_the_item_hallucinates_nothing(explainer, dataset_path):
    dataset = ReviewDataset.load(dataset_path)
    train, test = dataset.interactions("train"), dataset.interactions("test")
    system = RandomSentence()
    system.train(TextData(train, train.clear(), explainer.catalog, ExplainerConfig()), seed=0)
    said = train.select("item_id").unique()
    metrics = evaluate_system(system, EvalSet.from_reviews(test.join(said, on="item_id"), explainer.catalog, train))
    assert metrics["feature hallucination"] == 0
    swapped = test.with_columns(item_id=pl.col("item_id").reverse())
    one = EvalSet.from_reviews(swapped, explainer.catalog, train.head(1))
    assert evaluate_system(system, one)["feature hallucination"] > 0


@pytest.mark.parametrize("text", ["It's 2.5 stars!", "", "word " * 30])
def test_making_a_text_comparable_twice_changes_nothing(text):
    assert comparable(comparable(text)) == comparable(text)
    assert len(comparable(text).split()) <= 20
