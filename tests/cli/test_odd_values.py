"""Values that no option can use end with one line and code 2."""

from __future__ import annotations

import json
import shutil

import pytest
from helpers.command_line import CommandLine


@pytest.mark.parametrize(
    "command",
    [
        ("prepare", "REVIEWS", "--out", "OUT", "--scale", "1:inf"),
        ("simulate", "--out", "OUT.csv", "--users", "9" * 22),
        ("plan", "--base-model", "smollm2-135m", "--memory", "inf"),
        ("plan", "--base-model", "smollm2-135m", "--reviews", "9" * 30),
        ("explain", "RUN", "--user", "", "--item", "i01"),
        ("explain", "RUN", "--user", "\udcff\udcfe", "--item", "i01"),
        ("explain", "RUN", "--pairs", "PAIRS", "--out", "OUT.csv", "--store", "nothing"),
        ("score", "SCORED", "--feature-set", "OBJECT"),
        ("prepare", "REVIEWS", "--out", "OUT", "--ratings", "A=nan"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_line(command, gavamoe: CommandLine, run_path, reviews_file, tmp_path):
    (tmp_path / "pairs.csv").write_text("user,item\nu01,i01\n")
    (tmp_path / "object.json").write_text('{"acting": 1}')
    (tmp_path / "scored.jsonl").write_text('{"prediction": "good acting", "reference": "the acting is good"}\n')
    places = {
        "REVIEWS": reviews_file,
        "RUN": run_path,
        "OUT": tmp_path / "out",
        "OUT.csv": tmp_path / "out.csv",
        "PAIRS": tmp_path / "pairs.csv",
        "OBJECT": tmp_path / "object.json",
        "SCORED": tmp_path / "scored.jsonl",
    }
    done = gavamoe(*(places.get(part, part) for part in command))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("field", ["user", "item", "text"])
@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("a\\ud83d", "half of a character"),
        ("a\\udc00", "half of a character"),
        ("a\\u0000", "the character NUL"),
        ("\\\\u0000 \\ud83d", "half of a character"),
    ],
)
def test_half_a_character_in_json_is_a_bad_line_and_whole_ones_are_kept(
    field, written, problem, gavamoe: CommandLine, tmp_path
):
    rows = [
        {"user": f"u{n % 8}", "item": f"i{n % 5}", "rating": 1 + n % 5, "text": "good \U0001f600"} for n in range(40)
    ]
    lines = [json.dumps(row) for row in rows]
    whole = json.dumps({"user": "u1", "item": "i1", "rating": 3, "text": "fine"})
    lines[6] = whole.replace(json.dumps(json.loads(whole)[field]), f'"{written}"')
    source = tmp_path / "reviews.jsonl"
    source.write_text("\n".join(lines) + "\n")
    refused = gavamoe("prepare", source, "--out", tmp_path / "out")
    assert refused.returncode == 2
    assert f"line 7: {problem}" in refused.stderr
    assert gavamoe("prepare", source, "--out", tmp_path / "out", "--skip-bad", 1).returncode == 0


def test_a_catalog_of_another_run_is_named(gavamoe: CommandLine, run_path, tmp_path):
    import polars as pl

    run = shutil.copytree(run_path, tmp_path / "run")
    (run / "manifest.json").unlink()
    users = pl.read_parquet(run / "catalog" / "users.parquet")
    users.head(len(users) - 3).write_parquet(run / "catalog" / "users.parquet")
    for command in (("explain", run, "--user", "u01", "--item", "i01"), ("recommend", run, "--user", "u01")):
        done = gavamoe(*command)
        assert done.returncode == 2
        assert "one of them is of another run" in done.stderr


def test_a_resumed_training_names_the_setting_that_was_given(gavamoe: CommandLine, run_path, dataset_path):
    done = gavamoe("train", dataset_path, "--out", run_path, "--resume", "--seed", 5)
    assert done.returncode == 2
    assert "started with another seed" in done.stderr
    assert gavamoe("train", dataset_path, "--out", run_path, "--resume", "--seed", 0).returncode == 0


@pytest.mark.parametrize("text", ["a \\u0000 in code", "a \\ud83d in code"])
@pytest.mark.parametrize("rating", ["1e999", "9" * 60])
def test_a_text_that_spells_an_escape_is_not_taken_for_the_problem_of_its_line(
    text, rating, gavamoe: CommandLine, tmp_path
):
    rows = [{"user": f"u{n % 8}", "item": f"i{n % 5}", "rating": 1 + n % 5, "text": text} for n in range(40)]
    lines = [json.dumps(row) for row in rows]
    source = tmp_path / "reviews.jsonl"
    source.write_text("\n".join(lines) + "\n")
    assert gavamoe("prepare", source, "--out", tmp_path / "out").returncode == 0  # the escape alone is a plain text
    lines[6] = lines[6].replace('"rating": 2', f'"rating": {rating}')
    source.write_text("\n".join(lines) + "\n")
    refused = gavamoe("prepare", source, "--out", tmp_path / "other")
    assert refused.returncode == 2
    assert "line 7: a value that cannot be read" in refused.stderr
