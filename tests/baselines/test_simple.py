"""The baselines know what they say they know, and nothing of an item they have not met."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from gavamoe.baselines.simple import Biases, GlobalMean, ItemMode, RandomSentence
from gavamoe.data.scale import RatingScale

SCALE = RatingScale.between(1, 5)
TRAIN = pl.DataFrame(
    [
        (1, 1, 5, "warm soup"),
        (2, 1, 4, "slow service"),
        (3, 1, 3, "warm soup"),
        (1, 2, 2, "good bread"),
        (2, 2, 1, ""),
        (3, 3, 3, ""),
    ],
    schema=["user_id", "item_id", "level", "text"],
    orient="row",
)
PAIRS = pl.DataFrame({"user_id": [1, 1, 0, 2], "item_id": [1, 2, 0, 3]})


def test_the_item_mean_comes_with_the_items_most_frequent_sentence() -> None:
    texts, ratings = ItemMode.fit(TRAIN, SCALE).predict(PAIRS)
    assert texts == ["warm soup", "good bread", "warm soup", "warm soup"]
    assert ratings.tolist() == [4, 1.5, 3, 3]


def test_a_random_sentence_is_one_of_the_item_and_the_same_each_time() -> None:
    many = pl.DataFrame({"user_id": [1] * 50, "item_id": [1] * 50})
    baseline = RandomSentence.fit(TRAIN, SCALE, seed=1)
    texts, _ = baseline.predict(many)
    assert set(texts) == {"warm soup", "slow service"}
    assert baseline.predict(many)[0] == texts
    assert RandomSentence.fit(TRAIN, SCALE, seed=2).predict(many)[0] != texts


def test_the_global_mean_rates_everything_alike() -> None:
    assert GlobalMean.fit(TRAIN, SCALE).predict(PAIRS)[1].tolist() == [3, 3, 3, 3]


def test_biases_lie_between_the_mean_and_what_was_seen_and_are_nothing_for_the_unknown() -> None:
    _, ratings = Biases.fit(TRAIN, SCALE).predict(PAIRS)
    assert 3 < ratings[0] < 5
    assert 1.5 < ratings[1] < 3
    assert ratings[2] == 3


def test_biases_recover_a_world_of_biases() -> None:
    rng = np.random.default_rng(0)
    user, item = rng.integers(1, 31, 6000), rng.integers(1, 41, 6000)
    of_user, of_item = rng.normal(0, 0.5, 31), rng.normal(0, 0.7, 41)
    level = np.clip(np.rint(3 + of_user[user] + of_item[item]), 1, 5).astype(int)
    frame = pl.DataFrame({"user_id": user, "item_id": item, "level": level})
    predicted = Biases.fit(frame, SCALE).predict(frame)[1]
    # What is left is the rounding to whole stars.
    assert np.abs(predicted - level).mean() < 0.3


def test_reviews_without_a_single_text_give_empty_texts() -> None:
    silent = TRAIN.with_columns(text=pl.lit(""))
    for baseline in (ItemMode.fit(silent, SCALE), RandomSentence.fit(silent, SCALE)):
        assert baseline.predict(PAIRS)[0] == [""] * 4


@pytest.mark.parametrize("system", [ItemMode, RandomSentence, GlobalMean, Biases])
def test_no_rows_are_no_predictions(system: type) -> None:
    texts, ratings = system.fit(TRAIN, SCALE).predict(PAIRS.head(0))
    assert texts == []
    assert len(ratings) == 0
