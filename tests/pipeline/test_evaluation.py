"""An evaluation covers every row, has confidence intervals, and assigns every row to a group."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from gavamoe.baselines.data import TextData
from gavamoe.baselines.simple import Biases
from gavamoe.conditions import Condition
from gavamoe.config import ExplainerConfig
from gavamoe.data.dataset import ReviewDataset
from gavamoe.pipeline.eval_set import EvalSet
from gavamoe.pipeline.evaluation import evaluate as evaluate_on
from gavamoe.pipeline.evaluation import evaluate_system


def evaluate(explainer, reviews, condition, about):
    return evaluate_on(explainer, EvalSet.from_reviews(reviews, explainer.catalog), condition, about)


@pytest.fixture(scope="module")
def reviews(dataset_path):
    return ReviewDataset.load(dataset_path).interactions("test")


def test_every_grouping_holds_every_row(explainer, reviews):
    evaluation = evaluate(explainer, reviews, Condition(), {})
    assert evaluation.groups.keys() == {"training reviews of the user", "cluster", "rating"}
    for groups in evaluation.groups.values():
        assert sum(group["n"] for group in groups.values()) == len(reviews)


def test_an_unknown_user_is_in_the_cold_group(explainer, reviews):
    unknown = reviews.with_columns(user=pl.lit("nobody"), user_id=pl.lit(0))
    groups = evaluate(explainer, unknown, Condition(), {}).groups
    assert list(groups["training reviews of the user"]) == ["cold"]


def test_confidence_intervals_contain_their_metrics(explainer, reviews):
    evaluation = evaluate(explainer, reviews, Condition(), {})
    assert {"RMSE", "BLEU-4", "rouge_l/f_score"} <= evaluation.intervals.keys()
    for name, (low, high) in evaluation.intervals.items():
        assert low <= evaluation.metrics[name] <= high, name


def test_rows_without_a_text_count_for_ratings_only(explainer, reviews):
    half = reviews.with_columns(text=pl.when(pl.int_range(pl.len()) % 2 == 0).then("text"))
    whole, some = (evaluate(explainer, frame, Condition(), {}) for frame in (reviews, half))
    described = evaluate(explainer, reviews.gather_every(2), Condition(), {})
    assert some.metrics["RMSE"] == whole.metrics["RMSE"]
    for name in ("BLEU-1", "rouge_l/f_score", "USR", "DIV"):
        assert some.metrics[name] == pytest.approx(described.metrics[name]), name
    assert some.conditions["texts"] == described.n


def test_ratings_alone_leave_text_metrics_undefined(explainer, reviews):
    evaluation = evaluate(explainer, reviews.with_columns(text=pl.lit("")), Condition(), {})
    assert evaluation.metrics["BLEU-1"] is None
    assert evaluation.metrics["USR"] is None
    assert evaluation.metrics["RMSE"] is not None


def test_a_baseline_without_texts_has_metrics_of_ratings_alone(explainer, reviews):
    system = Biases()
    system.fit(TextData(reviews, reviews.clear(), explainer.catalog, ExplainerConfig()), 0, Path())
    metrics = evaluate_system(system, EvalSet.from_reviews(reviews, explainer.catalog))
    assert metrics.keys() == {"RMSE", "MAE"}
