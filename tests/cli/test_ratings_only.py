"""Every command on ratings without texts: what it prints, and that each command a message advises works."""

from __future__ import annotations

import json
import re
import shlex
import shutil

import pytest

SMALL = ("preference.epochs=2", "preference.pretrain_epochs=2", "preference.clusters=2", "preference.restarts=1")
FAST = [word for setting in SMALL for word in ("--set", setting)]


@pytest.fixture
def rating_run(rating_run_path, tmp_path):
    """A copy, because evaluate writes into the run."""
    return shutil.copytree(rating_run_path, tmp_path / "run")


def refusal(result):
    code, out, err = result
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1), err
    return err


def advised(text, **values):
    """The commands that a message advises, with the names in capitals filled in."""
    found = re.findall(r"gavamoe ((?:prepare|train|compare|evaluate|recommend|diagnose) [^`\n]+)", text)
    return [[values.get(word, word) for word in shlex.split(command)] for command in found]


@pytest.mark.slow
def test_every_command_that_leads_on_works(gavamoe, ratings_file, tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    code, printed, _ = gavamoe("prepare", ratings_file, "--out", data)
    assert code == 0
    train, compare = advised(printed, RUN=str(run), DIR=str(tmp_path / "table"))
    code, printed, _ = gavamoe(*train, "--preset", "tiny", *FAST)
    assert code == 0
    assert gavamoe(*compare, "--seeds", "1", "--preset", "tiny", *FAST)[0] == 0
    then = advised(printed, USER="u01", DIR=str(tmp_path / "diagnosis"))
    assert [command[0] for command in then] == ["evaluate", "recommend", "diagnose"]
    for command in then:
        assert gavamoe(*command)[0] == 0


def test_train_without_a_stage_names_the_stage_that_works(gavamoe, ratings_path, tmp_path):
    line = refusal(gavamoe("train", ratings_path, "--out", tmp_path / "run"))
    assert advised(line) == [["train", str(ratings_path), "--out", str(tmp_path / "run"), "--stage", "preference"]]
    assert not (tmp_path / "run").exists()


def test_evaluate_prints_ratings_and_calibration(gavamoe, rating_run):
    code, printed, _ = gavamoe("evaluate", rating_run, "--json")
    assert code == 0
    result = json.loads(printed)
    assert (set(result["metrics"]), set(result["further"])) == ({"RMSE", "MAE"}, {"rating NLL", "rating ECE"})
    assert result["conditions"]["oracle"] is False
    code, printed, _ = gavamoe("evaluate", rating_run, "--limit", "10")
    assert code == 0
    assert "user and item biases" in printed
    assert "BLEU" not in printed


def test_evaluate_reads_a_file_of_ratings_with_unknown_users_and_items(gavamoe, rating_run, tmp_path):
    (tmp_path / "new.csv").write_text("user,item,rating\nu01,i01,4\nnobody,i01,2\nu02,nothing,5\n")
    code, printed, _ = gavamoe("evaluate", rating_run, "--data", tmp_path / "new.csv", "--json")
    assert code == 0
    result = json.loads(printed)
    assert (result["n"], result["conditions"]["cold_users"], result["conditions"]["cold_items"]) == (3, 1, 1)


def test_the_predictions_of_an_evaluation_can_be_scored_again(gavamoe, rating_run):
    _, evaluated, _ = gavamoe("evaluate", rating_run, "--json")
    code, scored, _ = gavamoe("score", rating_run / "predictions.jsonl", "--json")
    assert code == 0
    for metric, value in json.loads(evaluated)["metrics"].items():
        assert json.loads(scored)["metrics"][metric] == pytest.approx(value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain", "--user", "u01", "--item", "i01"], ["stage 1 alone", "no texts", "gavamoe recommend"]),
        (["recommend", "--user", "u01", "--explain"], ["stage 1 alone", "no texts"]),
        (["recommend", "--user", "nobody"], ["nobody", "no training review"]),
        (["evaluate", "--rating", "given"], ["--rating", "no prompt"]),
        (["evaluate", "--feature", "none"], ["--feature", "no prompt"]),
    ],
)
def test_what_needs_texts_says_so_in_one_line(gavamoe, rating_run, arguments, words):
    command, *options = arguments
    line = refusal(gavamoe(command, rating_run, *options))
    assert all(word in line for word in words), line


def test_compare_refuses_systems_that_learn_from_texts_and_names_those_that_do_not(gavamoe, ratings_path, tmp_path):
    out = tmp_path / "table"
    line = refusal(gavamoe("compare", ratings_path, "--out", out, "--models", "peter,bias,item-mode"))
    assert "peter, item-mode learn from texts" in line
    assert "--models preference,lightgcn,mlp,bias,mean" in line
    assert not out.exists()


def test_compare_of_rating_systems_tests_in_pairs_and_leaves_out_every_text_metric(gavamoe, ratings_path, tmp_path):
    out = tmp_path / "table"
    arguments = ("--models", "preference,mlp,bias,mean", "--seeds", "2", "--preset", "tiny", *FAST)
    code, printed, _ = gavamoe("compare", ratings_path, "--out", out, *arguments, "--json")
    assert code == 0
    (table,) = json.loads(printed)["tables"]
    assert table["subject"] == "preference"
    assert set(table["models"]) == {"preference", "mlp", "bias", "mean"}
    for name, found in table["models"].items():
        assert set(found["metrics"]) == {"RMSE", "MAE"}
        for metric in found["metrics"].values():
            assert (metric["p"] is None) == (name == "preference")
            assert metric["p"] is None or 0 < metric["p"] <= 1
    for name in ("results.md", "results.tex", "results.html", "results.csv"):
        page = (out / name).read_text()
        assert "RMSE" in page
        assert not re.search(r"BLEU|ROUGE|cut at|tokens/s|nats", page), name
    assert "differs from preference" in (out / "results.md").read_text()
    assert [path.name for path in (out / "plots").iterdir()] == ["by-training-reviews-of-the-user-ratings.svg"]
