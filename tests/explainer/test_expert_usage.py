"""How evenly experts are used."""

import numpy as np
import polars as pl
import pytest

from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import DataError
from gavamoe.explainer.expert_usage import ExpertReport, usage_shares


def test_choices_are_counted_by_cluster_layer_and_expert():
    counts_NLE = np.array([[[4, 0, 0, 0]], [[0, 2, 2, 0]], [[2, 2, 0, 0]]])
    report = ExpertReport.from_counts(counts_NLE, np.array([2, 0, 2]), [5])
    rows = {(c, layer, e): (n, share) for c, layer, e, n, share in report.use.iter_rows()}
    assert rows[2, 5, 0] == (6, 0.75)
    assert rows[2, 5, 1] == (2, 0.25)
    assert rows[0, 5, 1] == rows[0, 5, 2] == (2, 0.5)
    load = {row["cluster"]: row for row in report.load_balance().to_dicts()}
    assert load[0]["entropy"] == pytest.approx(0.5)  # two of four experts, evenly
    assert load[0]["dead"] == 2
    assert load[0]["balance"] == pytest.approx(2.0)
    assert load[None]["dead"] == 1
    assert load[None]["entropy"] == pytest.approx(
        -(0.5 * np.log(0.5) + np.log(1 / 3) / 3 + np.log(1 / 6) / 6) / np.log(4)
    )
    assert str(report) == "layer 5: load entropy 0.73 of 1, 1 dead experts; least even cluster 2: 0.41, 2 dead"


def test_even_use_has_entropy_and_balance_one():
    report = ExpertReport.from_counts(np.full((3, 2, 4), 5), np.array([0, 1, 1]), [0, 1])
    assert report.load_balance()["entropy"].to_list() == pytest.approx([1.0] * 6)
    assert report.load_balance()["balance"].to_list() == pytest.approx([1.0] * 6)
    assert report.load_balance()["dead"].sum() == 0


def test_shares_sum_to_one_per_group_and_layer():
    counts_NLE = np.array([[[3, 1]], [[1, 3]], [[4, 0]]])
    shares = usage_shares(counts_NLE, np.array([0, 0, 2]), 3)
    assert shares[:, 0].tolist() == [[0.5, 0.5], [0, 0], [1, 0]]


def test_a_run_reports_on_reviews(explainer, dataset_path):
    reviews = ReviewDataset.load(dataset_path).interactions("valid")
    use = explainer.expert_report(reviews).use
    config = explainer.model.config
    assert set(use["layer"]) == {0, 1}
    assert set(use["expert"]) == set(range(config.experts))
    by_layer = use.group_by("layer").agg(pl.col("choices").sum())["choices"]
    assert by_layer[0] == by_layer[1] > 0
    assert by_layer[0] % config.experts_per_token == 0
    with pytest.raises(DataError, match="text"):
        explainer.expert_report(reviews.drop("text"))
