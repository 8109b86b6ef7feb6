"""Summaries of clusters: distinctive labels, likes, stability."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gavamoe.data.catalog import Catalog
from gavamoe.data.scale import RatingScale
from gavamoe.diagnostics.clusters import log_odds_z_scores, stability, summarize_clusters


@pytest.fixture
def westerns_and_plays() -> tuple[np.ndarray, pl.DataFrame, Catalog]:
    """Cluster 0 reviews westerns and praises them; cluster 1 reviews both alike, and speaks of the acting."""
    rng = np.random.default_rng(0)
    count = 600
    cluster = np.arange(count) % 2
    western = np.where(cluster == 0, rng.random(count) < 0.8, rng.random(count) < 0.3)
    item = np.where(western, 1, 2)
    rating = 3 + np.where((cluster == 0) & western, 1, 0) + rng.integers(0, 2, count)
    feature = np.where(cluster == 1, "acting", np.where(rng.random(count) < 0.5, "horses", "acting"))
    reviews = pl.DataFrame(
        {"user_id": 1 + np.arange(count) % 20, "item_id": item, "rating": rating, "feature": feature}
    )
    items = pl.DataFrame(
        {
            "item_id": [1, 2],
            "item": ["a", "b"],
            "n_train": [1, 1],
            "mean_rating": [float(rating[item == 1].mean()), float(rating[item == 2].mean())],
            "title": [None, None],
            "categories": [["Western"], ["Play"]],
            "description": [None, None],
        }
    )
    catalog = Catalog(pl.DataFrame({"user": []}), items, pl.DataFrame(), RatingScale(5, (1.0, 2.0, 3.0, 4.0, 5.0)))
    return cluster, reviews, catalog


def test_a_summary_lists_over_represented_labels_and_liked_genres(westerns_and_plays):
    first, second = summarize_clusters(*westerns_and_plays)
    assert first.genres == ["Western"]
    assert second.genres == ["Play"]
    assert first.features == ["horses"]
    assert second.features == ["acting"]
    assert "Western" in first.likes
    assert "Western" not in second.likes
    assert first.pairs + second.pairs == len(westerns_and_plays[1])
    assert first.share + second.share == pytest.approx(1)


def test_reviews_of_unknown_items_without_features_count_but_give_no_labels(westerns_and_plays):
    cluster, reviews, catalog = westerns_and_plays
    blank = reviews.with_columns(item_id=pl.lit(0), feature=pl.lit(None, pl.String))
    for one in summarize_clusters(cluster, blank, catalog):
        assert one.pairs == 300
        assert one.genres == one.features == one.likes == one.dislikes == []
        assert one.above == 0


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3), min_size=2, max_size=4), st.permutations(range(3))
)
def test_z_scores_follow_their_labels_and_equal_groups_score_zero(counts, order):
    count_GL = np.array(counts)
    scores = log_odds_z_scores(count_GL)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(log_odds_z_scores(count_GL[:, order]), scores[:, order], atol=1e-9)
    same = np.tile(count_GL[:1], (2, 1))
    np.testing.assert_allclose(log_odds_z_scores(same), 0, atol=1e-9)


def test_stability_is_1_for_renumbered_clusters_and_0_for_unrelated_ones():
    one = np.repeat([0, 1, 2], 50)
    assert stability([one, (one + 1) % 3]) == pytest.approx(1)
    assert stability([one, np.random.default_rng(0).permutation(one)]) == pytest.approx(0, abs=0.05)
    assert stability([one]) is None
