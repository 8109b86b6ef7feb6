"""An option that would have no effect is refused with one line that says what to do."""

from __future__ import annotations

import json

import pytest
from helpers.command_line import CommandLine


@pytest.fixture
def places(tmp_path, run_path, dataset_path, reviews_file):
    import polars as pl

    rows = {"user": ["u1", "u2"] * 20, "item": ["i1", "i2", "i3", "i4"] * 10, "rating": [1, 5, 3, 4, 2] * 8}
    reviews = pl.DataFrame({**rows, "text": [f"good food number {n}" for n in range(40)], "feature": ["food"] * 40})
    reviews.write_csv(tmp_path / "reviews.csv")
    reviews.write_parquet(tmp_path / "reviews.parquet")
    reviews.select(prediction="text", reference="text").write_ndjson(tmp_path / "scored.jsonl")
    return {
        "CSV": tmp_path / "reviews.csv",
        "PARQUET": tmp_path / "reviews.parquet",
        "SCORED": tmp_path / "scored.jsonl",
        "DIR": tmp_path,
        "OUT": tmp_path / "out",
        "RUN": run_path,
        "DATA": dataset_path,
    }


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("prepare CSV --out OUT --index DIR", "is no PEPLER pickle"),
        ("prepare CSV --out OUT --index DIR --split column --split-col feature", "is no PEPLER pickle"),
        ("prepare CSV --out OUT --time-format day-first", "no column of times"),
        ("prepare CSV --dry-run --time-format day-first", "no column of times"),
        ("prepare CSV --dry-run --engine ray", "leave --engine out"),
        ("prepare PARQUET --out OUT --encoding gbk", "is no text"),
        ("prepare PARQUET --out OUT --records reviews", "is not JSON"),
        ("prepare PARQUET --out OUT --columns user,item,rating", "CSV without a header"),
        ("train DATA --out OUT --preset tiny --trust-remote-code", "--base-model"),
        ("evaluate RUN --encoding gbk", "leave --encoding out"),
        ("evaluate RUN --data DATA --records reviews", "leave --records out"),
        ("evaluate RUN --data PARQUET --encoding gbk", "is no text"),
        ("explain RUN --user u01 --item i01 --encoding gbk", "leave --encoding out"),
        ("recommend RUN --user u01 --records reviews", "leave --records out"),
        ("score SCORED --scale 1:5", "no predicted_rating"),
        ("serve RUN --open --no-page", "leave one of them out"),
    ],
)
def test_an_option_without_effect_is_refused_in_one_line(command, reason, places, gavamoe: CommandLine):
    done = gavamoe(*(places.get(word, word) for word in command.split()))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert not places["OUT"].exists()


def test_options_that_one_of_several_files_uses_are_accepted(places, gavamoe: CommandLine):
    done = gavamoe("prepare", places["PARQUET"], places["CSV"], "--out", places["OUT"], "--encoding", "utf-8")
    assert done.returncode == 0, done.stderr


def test_records_of_a_json_file_are_accepted_beside_a_parquet_file(places, gavamoe: CommandLine):
    import polars as pl

    rows = pl.read_csv(places["CSV"]).to_dicts()
    (places["DIR"] / "nested.json").write_text(json.dumps({"reviews": rows}))
    sources = places["DIR"] / "nested.json", places["PARQUET"]
    done = gavamoe("prepare", *sources, "--out", places["OUT"], "--records", "reviews")
    assert done.returncode == 0, done.stderr
