"""The counting baselines, on known and on unknown items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gavamoe.baselines.base import Predictions, RefittedSystem
from gavamoe.baselines.data import TextData
from gavamoe.baselines.simple import Biases, GlobalMean, ItemMode, RandomSentence
from gavamoe.conditions import Condition
from gavamoe.config import ExplainerConfig
from gavamoe.data.catalog import Catalog
from gavamoe.data.scale import RatingScale

SCALE = RatingScale.between(1, 5)
TRAIN = pl.DataFrame(
    [
        (1, 1, 5, "warm soup"),
        (2, 1, 4, "slow service"),
        (3, 1, 3, "warm soup"),
        (1, 2, 2, "good bread"),
        (2, 2, 1, ""),
        (3, 3, 3, " \t"),
    ],
    schema=["user_id", "item_id", "level", "text"],
    orient="row",
)
PAIRS = pl.DataFrame({"user_id": [1, 1, 0, 2], "item_id": [1, 2, 0, 3]})


def predict(system: RefittedSystem, train: pl.DataFrame, pairs: pl.DataFrame, seed: int = 0) -> Predictions:
    """Train on the reviews alone and predict the pairs."""
    catalog = Catalog(users=pl.DataFrame(), items=pl.DataFrame(), history=pl.DataFrame(), scale=SCALE)
    system.fit(TextData(train, train.clear(), catalog, ExplainerConfig()), seed, Path())
    return system.predict(pairs, Condition())


def test_item_mode_has_the_mean_and_the_most_frequent_sentence_of_the_item() -> None:
    predicted = predict(ItemMode(), TRAIN, PAIRS)
    assert predicted.texts == ["warm soup", "good bread", "warm soup", "warm soup"]
    assert predicted.ratings.tolist() == [4, 1.5, 3, 3]


def test_a_random_sentence_is_one_of_the_item_and_follows_from_the_seed() -> None:
    many = pl.DataFrame({"user_id": [1] * 50, "item_id": [1] * 50})
    baseline = RandomSentence()
    texts = predict(baseline, TRAIN, many, seed=1).texts
    assert set(texts) == {"warm soup", "slow service"}
    assert baseline.predict(many, Condition()).texts == texts
    assert predict(RandomSentence(), TRAIN, many, seed=2).texts != texts


def test_the_global_mean_is_the_same_for_all_pairs() -> None:
    assert predict(GlobalMean(), TRAIN, PAIRS).ratings.tolist() == [3, 3, 3, 3]


def test_biases_are_shrunk_towards_the_mean_and_zero_for_the_unknown() -> None:
    ratings = predict(Biases(), TRAIN, PAIRS).ratings
    assert 3 < ratings[0] < 5
    assert 1.5 < ratings[1] < 3
    assert ratings[2] == 3


def test_biases_are_recovered_from_simulated_ratings() -> None:
    rng = np.random.default_rng(0)
    user, item = rng.integers(1, 31, 6000), rng.integers(1, 41, 6000)
    of_user, of_item = rng.normal(0, 0.5, 31), rng.normal(0, 0.7, 41)
    level = np.clip(np.rint(3 + of_user[user] + of_item[item]), 1, 5).astype(int)
    frame = pl.DataFrame({"user_id": user, "item_id": item, "level": level})
    predicted = predict(Biases(), frame, frame).ratings
    # The remaining error comes from rounding to whole stars.
    assert np.abs(predicted - level).mean() < 0.3


def test_reviews_without_a_single_text_give_empty_texts() -> None:
    silent = TRAIN.with_columns(text=pl.lit(""))
    for baseline in (ItemMode(), RandomSentence()):
        assert predict(baseline, silent, PAIRS).texts == [""] * 4


@pytest.mark.parametrize("system", [ItemMode, RandomSentence, GlobalMean, Biases])
def test_no_pairs_give_no_predictions(system: type[RefittedSystem]) -> None:
    predicted = predict(system(), TRAIN, PAIRS.head(0))
    assert predicted.texts == (None if system in (GlobalMean, Biases) else [])
    assert len(predicted.ratings) == 0
