"""Swap gaps and sentence ranking: their values follow from losses of single texts, and from no order of rows."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.conditions import Condition
from gavamoe.data.dataset import ReviewDataset
from gavamoe.evaluation.training_texts import TrainingTexts
from gavamoe.pipeline.model_metrics import measure_model
from gavamoe.pipeline.sentence_ranking import find_candidates, rank_sentences, reciprocal_rank
from gavamoe.pipeline.swap_gap import measure_swap_gaps


@pytest.fixture(scope="module")
def dataset(dataset_path) -> ReviewDataset:
    return ReviewDataset.load(dataset_path)


@pytest.fixture(scope="module")
def reviews(dataset) -> pl.DataFrame:
    return dataset.interactions("test")


def value(metric):
    totals = metric.statistics(None).sum(0)[None]
    return float(metric.value(totals, np.ones(1))[0])


def test_the_gap_of_two_reviews_is_the_loss_under_each_others_names(explainer, reviews):
    first = reviews.row(0, named=True)
    other = reviews.filter((pl.col("user") != first["user"]) & (pl.col("item") != first["item"])).row(0, named=True)
    pair = pl.DataFrame([first, other], schema=reviews.schema)
    gaps = measure_swap_gaps(explainer, pair, Condition())
    assert gaps.rows == 2
    own, tokens = explainer.text_losses(pair, pair["text"].to_list())
    for metric, name in zip(gaps.metrics, ("user", "item"), strict=True):
        swapped, _ = explainer.text_losses(pair.with_columns(pair[name].reverse()), pair["text"].to_list())
        assert value(metric) == pytest.approx((swapped - own).sum() / tokens.sum(), rel=1e-4)


def test_values_do_not_depend_on_the_order_of_rows(explainer, reviews, dataset):
    training = TrainingTexts.from_reviews(dataset.interactions("train"), dataset.catalog.extractor)
    orders = [reviews, reviews.sample(fraction=1, shuffle=True, seed=1)]
    found = [measure_model(explainer, frame, Condition(), training) for frame in orders]
    assert found[0].rows == found[1].rows
    assert found[0].further == pytest.approx(found[1].further)
    for first, second in zip(found[0].metrics, found[1].metrics, strict=True):
        assert value(first) == pytest.approx(value(second), rel=1e-4), first.name


def test_cold_pairs_and_empty_texts_are_not_measured(explainer, reviews):
    cold = reviews.with_columns(user=pl.lit("nobody"), user_id=pl.lit(0, pl.Int32))
    assert measure_swap_gaps(explainer, cold, Condition()).metrics == ()
    silent = reviews.with_columns(text=pl.lit(""))
    found = measure_model(explainer, silent, Condition())
    assert found.metrics == ()
    assert found.missing.keys() == {"swap_gap_user", "swap_gap_item", "sentence_rank_mrr"}


def test_candidates_are_training_sentences_by_others_with_and_without_what_the_review_states(
    explainer, reviews, dataset
):
    found = find_candidates(explainer, reviews)
    assert found
    train = dataset.interactions("train")
    for each in found:
        row = reviews.row(each.row, named=True)
        others = train.filter((pl.col("item") == row["item"]) & (pl.col("user") != row["user"]))
        written = " ".join(others["text"].to_list())
        assert all(sentence in written for sentence in each.sentences)
        assert len(set(each.sentences)) == len(each.sentences)
        assert 0 < each.relevant.sum() < len(each.relevant)
        assert (each.popularity >= 1).all()


def test_the_ranking_follows_the_losses_of_the_sentences(explainer, reviews):
    ranking = rank_sentences(explainer, reviews, Condition())
    ranks = []
    for each in find_candidates(explainer, reviews):
        pairs = reviews[[each.row] * len(each.sentences)]
        nats, tokens = explainer.text_losses(pairs, each.sentences)
        order = np.argsort(nats / tokens)
        ranks.append(1 + int(np.flatnonzero(each.relevant[order])[0]))
    assert value(ranking.metric) == pytest.approx(np.mean(1 / np.array(ranks)))
    assert 0 < ranking.random < 1
    assert ranking.rows == len(ranks)


@given(
    scores=st.lists(st.integers(0, 2), min_size=1, max_size=5),
    seed=st.integers(0, 30),
)
def test_the_reciprocal_rank_is_the_mean_over_all_orders_of_ties(scores, seed):
    relevant = np.random.default_rng(seed).random(len(scores)) < 0.4
    relevant[seed % len(scores)] = True
    ranks = []
    for order in permutations(range(len(scores))):
        ranked = sorted(order, key=lambda place: -scores[place])  # stable: ties keep the order
        ranks.append(1 + next(rank for rank, place in enumerate(ranked) if relevant[place]))
    expected = np.mean([1 / rank for rank in ranks])
    assert reciprocal_rank(np.array(scores, dtype=float), relevant) == pytest.approx(expected)
