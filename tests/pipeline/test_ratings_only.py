"""Ratings without texts: stage 1 alone gives the same numbers as on reviews with texts, and its calibration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.weights import assert_same_weights
from safetensors.torch import load_file

from gavamoe import Recommender
from gavamoe.conditions import Condition
from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import DataError, RunError
from gavamoe.evaluation.metrics.calibration import METRICS, calibration_excess
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import RowScores
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.evaluate import evaluate_run
from gavamoe.pipeline.rating_evaluation import evaluate_ratings
from gavamoe.pipeline.report import write_rating_report
from gavamoe.pipeline.train import train_run
from gavamoe.run import RunDirectory


@pytest.fixture
def rating_run(rating_run_path, tmp_path) -> RunDirectory:
    """A copy, because an evaluation writes into the run."""
    return RunDirectory(Path(shutil.copytree(rating_run_path, tmp_path / "run")))


def test_stage_1_is_the_same_with_and_without_texts(run_path, rating_run, tmp_path):
    assert_same_weights(*(load_file(path / "preference" / "model.safetensors") for path in (run_path, rating_run.path)))
    with_texts = RunDirectory(Path(shutil.copytree(run_path, tmp_path / "both")))
    of_texts, _ = evaluate_run(with_texts, None, "test", Condition())
    of_ratings, _ = evaluate_ratings(rating_run, None, "test")
    assert of_ratings.evaluation.n == of_texts.evaluation.n == 50
    for metric in ("RMSE", "MAE"):
        assert of_ratings.evaluation.metrics[metric] == pytest.approx(of_texts.evaluation.metrics[metric], abs=1e-9)
        assert of_ratings.evaluation.intervals[metric] == pytest.approx(of_texts.evaluation.intervals[metric])
    groups = [each.evaluation.groups["training reviews of the user"] for each in (of_ratings, of_texts)]
    assert [group["n"] for group in groups[0].values()] == [group["n"] for group in groups[1].values()]


def test_the_calibration_is_the_one_that_training_validated(rating_run):
    comparison, _ = evaluate_ratings(rating_run, None, "valid")
    finished = rating_run.read_training()["preference"][-1]
    assert comparison.evaluation.further["rating NLL"] == pytest.approx(finished["valid_nll"], rel=1e-5)
    assert comparison.evaluation.further["rating ECE"] == pytest.approx(finished["valid_calibration"], rel=1e-4)


@pytest.mark.parametrize(
    ("distribution", "level", "nll", "ece"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], [1, 2], 0.0, 0.0),
        ([[0.5, 0.5], [0.5, 0.5]], [1, 2], np.log(2), 0.0),
        ([[0.85, 0.15], [0.85, 0.15]], [1, 1], -np.log(0.85), 0.15),
        ([[1.0, 0.0], [1.0, 0.0]], [1, 2], -np.log(1e-12) / 2, 0.5),
    ],
)
def test_calibration_of_known_distributions(distribution, level, nll, ece):
    blank = [[]] * len(level)
    outputs = Outputs(blank, blank, distribution=np.array(distribution), level=np.array(level))
    assert RowScores(outputs, METRICS).overall() == pytest.approx({"rating NLL": nll, "rating ECE": ece})
    assert calibration_excess(Outputs(blank, blank)) is None


def test_an_evaluation_of_ratings_has_baselines_and_groups_of_users_and_items(rating_run):
    comparison, recommender = evaluate_ratings(rating_run, None, "test")
    stage_1, mean, biases = comparison.systems.values()
    assert set(stage_1) == set(mean) == {"RMSE", "MAE", "rating NLL", "rating ECE"}
    assert set(biases) == {"RMSE", "MAE"}
    for grouping in ("training reviews of the user", "training reviews of the item", "cluster", "rating"):
        assert sum(group["n"] for group in comparison.evaluation.groups[grouping].values()) == 50
    write_rating_report(rating_run, comparison, recommender)
    page = rating_run.report.read_text()
    assert "Calibration" in page
    assert "In the prompt" not in page
    assert "BLEU" not in page
    kept = json.loads((rating_run.path / "metrics.json").read_text())
    assert set(kept["baselines"]) == {"global mean", "user and item biases"}


def test_recommendations_are_those_of_the_run_with_texts(explainer, rating_run_path):
    assert Recommender.from_pretrained(rating_run_path).recommend("u01", 5).equals(explainer.recommend("u01", 5))


def test_a_text_of_a_run_without_texts_is_refused_with_what_to_do(rating_run_path):
    with pytest.raises(RunError, match=r"stage 1 alone.*reviews have no texts.*gavamoe recommend"):
        Explainer.from_pretrained(rating_run_path)


def test_stage_2_can_still_be_added_where_the_data_have_texts(dataset_path, tiny_config, tmp_path):
    run = tmp_path / "run"
    train_run(dataset_path, run, tiny_config, stage="preference")
    with pytest.raises(RunError, match=rf"gavamoe train {dataset_path} --out {run} --stage explainer"):
        Explainer.from_pretrained(run)
    assert RunDirectory(run).has_stage_1_alone


def test_both_stages_are_refused_without_texts_and_nothing_is_left(ratings_path, tiny_config, tmp_path):
    run = tmp_path / "run"
    for stage in ("all", "explainer"):
        with pytest.raises(DataError, match=rf"gavamoe train {ratings_path} --out {run} --stage preference"):
            train_run(ratings_path, run, tiny_config, stage=stage)
        assert not run.exists()


def test_a_resumed_training_without_texts_is_one_of_stage_1(ratings_path, rating_run, tiny_config):
    said: list[str] = []
    result = train_run(ratings_path, rating_run.path, resume=True, on_note=said.append)
    assert set(result) == {"run", "preference"}
    assert any("no texts: stage 1 alone" in line for line in said)
    with pytest.raises(DataError, match=r"gavamoe evaluate"):
        train_run(ratings_path, rating_run.path, tiny_config, stage="explainer")


def test_the_model_card_of_a_rating_run_promises_no_texts(rating_run):
    card = rating_run.model_card.read_text()
    assert "Recommender.from_pretrained" in card
    assert "Explainer" not in card


def test_the_dataset_says_whether_it_has_texts(dataset_path, ratings_path):
    assert ReviewDataset.load(dataset_path).has_texts("valid")
    assert not ReviewDataset.load(ratings_path).has_texts()
