"""`diagnose RUN --data NEWER`: simulated drift of known onset is reported, and its absence is not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from helpers.runs import unsealed_copy
from helpers.streams import change_tastes, prepare_splits

from gavamoe.conditions import Condition
from gavamoe.config import parse_config
from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.simulate import World, simulate
from gavamoe.data.tables import write_table
from gavamoe.errors import DataError, RunError
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.diagnose import diagnose_run
from gavamoe.pipeline.drift import drift_checks
from gavamoe.pipeline.train import train_run
from gavamoe.run import RunDirectory

CONFIG = parse_config({"preference": {"clusters": 3, "pretrain_epochs": 15, "epochs": 20, "restarts": 3}})
WORLD = World(users=150, items=60, reviews=7000, clusters=3)


def statuses(result):
    return {check["name"]: check["status"] for check in result["checks"]}


@pytest.fixture(scope="module")
def stream():
    """A world whose tastes change two thirds into its reviews, the time before which the run is made, and the onset."""
    reviews = simulate(WORLD)
    made, onset = (int(reviews["timestamp"].quantile(q)) for q in (0.5, 0.75))
    return change_tastes(reviews, onset), made, onset


@pytest.fixture(scope="module")
def run(stream, tmp_path_factory):
    """Stage 1, trained on the first half of the stream."""
    reviews, made, _ = stream
    directory = tmp_path_factory.mktemp("drift")
    own = reviews.filter(pl.col("timestamp") < made)
    split = np.random.default_rng(0).choice(["train", "valid", "test"], len(own), p=[0.8, 0.1, 0.1])
    data = prepare_splits(own.with_columns(split=pl.Series(split)), directory / "data")
    train_run(data, directory / "run", CONFIG, stage="preference")
    return RunDirectory(directory / "run")


@pytest.fixture(scope="module")
def reports(run, stream, tmp_path_factory):
    """Drift against the reviews before the onset, and against those after it."""
    reviews, made, onset = stream
    directory = tmp_path_factory.mktemp("newer")
    parts = {
        "before": reviews.filter(pl.col("timestamp").is_between(made, onset, closed="left")),
        "after": reviews.filter(pl.col("timestamp") >= onset),
        "both": reviews.filter(pl.col("timestamp") >= made),
    }
    for name, part in parts.items():
        write_table(part, directory / f"{name}.jsonl.gz")
    return {name: drift_checks(run, directory / f"{name}.jsonl.gz") for name in parts}


def test_reviews_before_the_onset_pass_every_check(reports):
    assert set(statuses(reports["before"]).values()) <= {"pass", "skipped"}
    assert reports["before"]["onset"] is None


@pytest.mark.parametrize("name", ["moved_users", "rating_loss", "rating_error"])
def test_reviews_after_the_onset_fail_the_checks_of_taste(reports, name):
    check = next(check for check in reports["after"]["checks"] if check["name"] == name)
    assert check["status"] == "fail", check
    assert check["value"] > check["threshold"]
    assert "gavamoe train DATA --out NEW --update RUN" in check["advice"]


def test_a_change_of_taste_alone_fails_no_other_check(reports):
    others = {name: status for name, status in statuses(reports["after"]).items() if name.startswith("cold")}
    assert set(others.values()) == {"pass"}
    assert statuses(reports["after"])["rating_distribution"] == "pass"


def test_the_onset_is_found_to_within_a_window(reports, stream):
    windows = reports["both"]["windows"]
    found = np.datetime64(reports["both"]["onset"])
    true = np.datetime64(stream[2], "s")
    width = max(np.datetime64(w["to"]) - np.datetime64(w["from"]) for w in windows)
    assert abs(found - true) <= width + np.timedelta64(1, "D")


def test_few_newer_reviews_have_checks_and_no_windows(run, stream, tmp_path):
    reviews, _, onset = stream
    write_table(reviews.filter(pl.col("timestamp") > onset).head(30), tmp_path / "newer.jsonl")
    result = drift_checks(run, tmp_path / "newer.jsonl")
    assert result["n"] == 30
    assert result["windows"] == []


def test_new_users_and_items_are_reported_as_cold(run, stream, tmp_path):
    reviews, made, onset = stream
    newer = reviews.filter(pl.col("timestamp").is_between(made, onset)).with_columns(
        user=pl.concat_str(pl.lit("new-"), "user")
    )
    write_table(newer, tmp_path / "newer.jsonl")
    result = drift_checks(run, tmp_path / "newer.jsonl")
    assert statuses(result)["cold_users"] == "fail"
    assert statuses(result)["cold_items"] == "pass"
    assert statuses(result)["moved_users"] == "skipped"
    assert statuses(result)["rating_error"] == "fail"


def test_ratings_that_are_given_differently_are_reported(run, stream, tmp_path):
    reviews, made, onset = stream
    newer = reviews.filter(pl.col("timestamp").is_between(made, onset)).with_columns(
        rating=(pl.col("rating") - 2).clip(lower_bound=1)
    )
    write_table(newer, tmp_path / "newer.jsonl")
    assert statuses(drift_checks(run, tmp_path / "newer.jsonl"))["rating_distribution"] == "fail"


@pytest.mark.parametrize("has_data", [True, False])
def test_own_reviews_of_unknown_users_are_not_newer(has_data, stream, tmp_path):
    reviews, made, _ = stream
    own = reviews.filter(pl.col("timestamp") < made)
    new_users = own["user"].unique().sort()[:20].to_list()
    split = pl.when(pl.col("user").is_in(new_users)).then(pl.lit("valid")).otherwise(pl.lit("train"))
    data = prepare_splits(own.with_columns(split=split), tmp_path / "data")
    train_run(data, tmp_path / "run", CONFIG, stage="preference")
    if not has_data:
        data = data.rename(tmp_path / "moved")
    newer = reviews.filter(pl.col("timestamp") >= made).head(100)
    write_table(pl.concat([own, newer]), tmp_path / "all.csv")
    result = drift_checks(RunDirectory(tmp_path / "run"), tmp_path / "all.csv")
    known = len(own) if has_data else own["user"].is_in(new_users).not_().sum()
    assert (result["n"], result["left_out"]) == (len(own) + len(newer) - known, known)


def test_reviews_of_the_own_data_are_left_out_and_a_dataset_may_be_named(run, stream, tmp_path):
    reviews, made, onset = stream
    everything = reviews.filter(pl.col("timestamp") < onset).with_columns(split=pl.lit("train"))
    data = prepare_splits(everything, tmp_path / "data")
    result = drift_checks(run, data)
    assert result["left_out"] == len(reviews.filter(pl.col("timestamp") < made))
    assert result["n"] + result["left_out"] == len(everything)


def test_a_run_whose_data_is_gone_is_compared_with_its_recorded_figures(run, reports, stream, tmp_path):
    reviews, _, onset = stream
    write_table(reviews.filter(pl.col("timestamp") >= onset), tmp_path / "newer.jsonl")
    alone = RunDirectory(unsealed_copy(run.path, tmp_path / "run"))
    alone.write_card(replace(alone.read_card(), data=str(tmp_path / "gone")))
    result = drift_checks(alone, tmp_path / "newer.jsonl")
    assert statuses(result)["rating_error"] == statuses(result)["moved_users"] == "fail"
    assert statuses(result)["text_loss"] == "skipped"


def test_texts_of_stage_2_are_compared_too(run_path, reviews_file, tmp_path):
    newer = pl.read_ndjson(reviews_file).with_columns(
        text=pl.lit("zzz qqq xxyyzz"), rating=6 - pl.col("rating"), user=pl.col("user")
    )
    write_table(newer.drop("feature"), tmp_path / "newer.jsonl")
    result = drift_checks(RunDirectory(run_path), tmp_path / "newer.jsonl")
    text = next(check for check in result["checks"] if check["name"] == "text_loss")
    assert text["status"] == "fail"
    assert text["reference"] > 0


@pytest.mark.parametrize("known", ["both", "own"])
def test_both_sides_of_the_text_check_have_the_same_prompts(run_path, tmp_path, monkeypatch, known):
    """A prompt with the feature lowers the loss: where one side lacks features, neither states them."""
    own = ReviewDataset.load(Path(RunDirectory(run_path).read_card().data)).interactions("valid")
    newer = own.select("user", "item", "rating", "text", "feature")
    newer = newer.with_columns(pl.col("item").gather((np.arange(len(newer)) + 1) % len(newer)))  # no review twice
    write_table(newer, tmp_path / "newer.jsonl")
    features = "off" if known == "own" else "auto"
    prepare([str(tmp_path / "newer.jsonl")], tmp_path / "newer", PrepareOptions(features=features))
    conditions, text_losses = [], Explainer.text_losses

    def recorded(explainer, pairs, texts, condition):
        conditions.append(condition)
        return text_losses(explainer, pairs, texts, condition)

    monkeypatch.setattr(Explainer, "text_losses", recorded)
    result = drift_checks(RunDirectory(run_path), tmp_path / "newer")
    assert conditions == 2 * [Condition("given", "none" if known == "own" else "given")]
    assert statuses(result)["text_loss"] == "pass"


def test_diagnose_writes_drift_for_other_data_and_clusters_for_its_own(run, reports, stream, tmp_path):
    reviews, made, _ = stream
    newer = tmp_path / "newer.jsonl"
    write_table(reviews.filter(pl.col("timestamp") >= made), newer)
    diagnosis = diagnose_run(run.path, tmp_path / "out", newer)
    written = json.loads((tmp_path / "out" / "drift.json").read_text())
    assert statuses(written) == statuses(diagnosis) == statuses(reports["both"])
    page = (tmp_path / "out" / "drift.md").read_text()
    assert "| rating_loss | fail |" in page
    assert f"from {diagnosis['onset']} on" in page
    own = diagnose_run(run.path, tmp_path / "own", tmp_path.__class__(run.read_card().data))
    assert "clusters" in own
    assert not (tmp_path / "own" / "drift.json").exists()


def test_a_run_without_records_of_its_training_is_refused_by_name(explainer, reviews_file, tmp_path):
    explainer.save_pretrained(tmp_path / "shared")
    with pytest.raises(
        RunError, match=r"shared has no records of its training \(training.json\).*diagnose the run that was trained"
    ):
        drift_checks(RunDirectory(tmp_path / "shared"), reviews_file)


def test_data_that_says_nothing_is_one_line(run, stream, tmp_path):
    reviews, made, _ = stream
    newer = reviews.filter(pl.col("timestamp") >= made)
    write_table(newer.head(5), tmp_path / "few.jsonl")
    with pytest.raises(DataError, match="has 5 reviews that the run's own data lacks"):
        drift_checks(run, tmp_path / "few.jsonl")
    write_table(newer.with_columns(pl.col("rating") * 20), tmp_path / "scaled.jsonl")
    with pytest.raises(DataError, match="the scale this run was trained on"):
        drift_checks(run, tmp_path / "scaled.jsonl")
    with pytest.raises(DataError):
        drift_checks(run, tmp_path / "none.jsonl")
