"""Feature prediction: smoothing, leave-one-out choice of pseudo-counts, and saving."""

import numpy as np
import polars as pl

from gavamoe.features.predictor import FeaturePredictor

FEATURES, ITEMS, USERS = 40, 30, 1000


def simulate_features(reviews: int, by_user: bool, seed: int) -> pl.DataFrame:
    """Simulate reviews: with probability 0.3 the feature is that of the item (or user), else it is uniform.

    With 2000 reviews, a user has about two.
    """
    rng = np.random.default_rng(seed)
    user, item = rng.integers(1, USERS + 1, reviews), rng.integers(1, ITEMS + 1, reviews)
    own = (user if by_user else item) % FEATURES
    number = np.where(rng.random(reviews) < 0.3, own, rng.integers(0, FEATURES, reviews))
    feature = [f"f{n:02d}" for n in number]
    return pl.DataFrame({"user_id": user, "item_id": item, "feature": feature, "text": ["so it was"] * reviews})


def accuracy(predictor: FeaturePredictor, reviews: pl.DataFrame) -> float:
    predicted = predictor.predict(reviews["user_id"].to_numpy(), reviews["item_id"].to_numpy())
    return float(np.mean([left == right for left, right in zip(predicted, reviews["feature"], strict=True)]))


def test_users_with_few_reviews_do_not_hide_the_feature_of_the_item():
    predictor = FeaturePredictor.fit(simulate_features(2000, by_user=False, seed=0))
    # 0.32 of the reviews have the feature of their item.
    assert accuracy(predictor, simulate_features(2000, by_user=False, seed=1)) > 0.3


def test_users_with_many_reviews_determine_the_feature():
    predictor = FeaturePredictor.fit(simulate_features(20_000, by_user=True, seed=0))
    assert accuracy(predictor, simulate_features(2000, by_user=True, seed=1)) > 0.3


def test_predicted_feature_is_frequent_for_the_item_relative_to_the_background():
    common = pl.DataFrame({"user_id": range(1, 41), "item_id": [2] * 40, "feature": ["story"] * 40})
    both = {"user_id": range(41, 61), "item_id": [1] * 20, "feature": ["story"] * 11 + ["music"] * 9}
    train = pl.concat([common, pl.DataFrame(both)]).with_columns(text=pl.lit("so it was"))
    assert FeaturePredictor.fit(train).predict(np.array([0, 0, 0]), np.array([1, 2, 0])) == ["music", "story", "story"]


def test_texts_that_name_a_feature_as_whole_words_count_as_mentions():
    about = {"user_id": [1, 2, 3, 4], "item_id": [1, 2, 3, 4], "feature": ["front desk", "bar", None, None]}
    text = ["so it was", "so it was", "The FRONT, desk", "barely a front-desk bar."]
    counts = FeaturePredictor.fit(pl.DataFrame({**about, "text": text})).counts
    named = counts.filter((pl.col("side") == "item") & (pl.col("id") > 2)).select("id", "feature", "count").rows()
    assert named == [(3, "front desk", 1), (4, "bar", 1), (4, "front desk", 1)]


def test_the_rows_of_ids_are_those_of_a_scan():
    predictor = FeaturePredictor.fit(simulate_features(500, by_user=True, seed=0))
    for side, ids in (("user", [3, 900, 0, 7, USERS + 1]), ("item", [ITEMS, 1]), ("item", [])):
        counts = predictor.counts.filter((pl.col("side") == side) & (pl.col("id") > 0)).drop("side")
        scanned = pl.concat([counts.filter(pl.col("id") == each) for each in ids] or [counts.head(0)])
        rows, owner = predictor.by_side[side].rows_of(np.array(ids, dtype=np.int64))
        assert rows.equals(scanned)
        assert np.array(ids, dtype=np.int64)[owner].tolist() == rows["id"].to_list()


def test_a_mixed_user_has_the_weighted_mean_of_the_counts():
    predictor = FeaturePredictor.fit(simulate_features(2000, by_user=True, seed=0))
    first, second = np.array([7, 3]), np.array([5])
    mixed = predictor.with_mixed_users(USERS + 1, [(first, np.array([0.25, 0.75])), (second, np.array([1.0]))])
    item = np.array([1])
    seven, three, five = (predictor._gather_counts("user", np.array([user])) for user in (7, 3, 5))
    assert np.array_equal(mixed._gather_counts("user", np.array([USERS + 1])), 0.25 * seven + 0.75 * three)
    assert np.array_equal(mixed._gather_counts("user", np.array([USERS + 2])), five)
    assert np.array_equal(mixed.probabilities(np.array([7]), item), predictor.probabilities(np.array([7]), item))
    assert predictor.of_guests is None


def test_the_strongest_features_of_a_pair_begin_with_the_predicted_one():
    predictor = FeaturePredictor.fit(simulate_features(2000, by_user=False, seed=0))
    for user, item in ((1, 1), (7, 3), (0, 5), (0, 0)):
        strongest = predictor.strongest(user, item, 3)
        assert strongest[:1] == predictor.predict(np.array([user]), np.array([item]))
        assert len(set(strongest)) == 3
    nothing = FeaturePredictor.fit(simulate_features(9, True, 0).with_columns(feature=pl.lit(None, pl.String)))
    assert nothing.strongest(1, 1, 3) == []


def test_saved_predictor_is_loaded_unchanged(tmp_path):
    predictor = FeaturePredictor.fit(simulate_features(500, by_user=True, seed=0))
    predictor.save(tmp_path)
    pairs = np.arange(60), np.arange(60) % (ITEMS + 1)
    assert np.array_equal(FeaturePredictor.load(tmp_path).probabilities(*pairs), predictor.probabilities(*pairs))
