"""The feature a text is likely to speak of."""

import numpy as np
import polars as pl

from gavamoe.explainer.features import FeaturePredictor

FEATURES, ITEMS, USERS = 40, 30, 1000


def spoken(reviews: int, by_user: bool, seed: int) -> pl.DataFrame:
    """Reviews whose feature is their item's (or user's) own three times in ten, else any; users write about two."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(1, USERS + 1, reviews), rng.integers(1, ITEMS + 1, reviews)
    own = (user if by_user else item) % FEATURES
    number = np.where(rng.random(reviews) < 0.3, own, rng.integers(0, FEATURES, reviews))
    return pl.DataFrame({"user_id": user, "item_id": item, "feature": [f"f{n:02d}" for n in number]})


def hits(predictor: FeaturePredictor, reviews: pl.DataFrame) -> float:
    predicted = predictor.predict(reviews["user_id"].to_numpy(), reviews["item_id"].to_numpy())
    return float(np.mean([left == right for left, right in zip(predicted, reviews["feature"], strict=True)]))


def test_users_who_say_little_do_not_drown_what_the_item_says():
    predictor = FeaturePredictor.fit(spoken(2000, by_user=False, seed=0))
    assert hits(predictor, spoken(2000, by_user=False, seed=1)) > 0.3  # the item's own is 0.32 of them


def test_users_who_say_much_are_heard():
    predictor = FeaturePredictor.fit(spoken(20_000, by_user=True, seed=0))
    assert hits(predictor, spoken(2000, by_user=True, seed=1)) > 0.3
