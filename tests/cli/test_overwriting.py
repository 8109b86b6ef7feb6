"""Commands do not replace files and directories that they did not write themselves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers.command_line import CommandLine

PARTS = ("catalog/new.parquet", "preference/new.jsonl", "explainer/new.jsonl")
NAMES = ("texts.csv", "texts.csv.gz", "texts.jsonl", "texts.jsonl.gz", "texts.parquet", "texts[1].jsonl")


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    path.write_text("user,item,rating,text\nu,i,5,good\n")
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text("user,item\nu01,i01\n")
    return path


def test_explain_replaces_no_other_file(gavamoe: CommandLine, run_path, reviews, pairs):
    before = reviews.read_text()
    refused = gavamoe("explain", run_path, "--pairs", pairs, "--out", reviews)
    assert (refused.returncode, reviews.read_text()) == (2, before)
    assert "is no file of explanations" in refused.stderr


@pytest.mark.parametrize("name", NAMES)
def test_explain_replaces_explanations_and_empty_files(name, gavamoe: CommandLine, run_path, pairs, tmp_path):
    out = tmp_path / name
    out.touch()
    for resume in ([], [], ["--resume"]):
        assert gavamoe("explain", run_path, "--pairs", pairs, "--out", out, *resume).returncode == 0
        assert out.stat().st_size


def test_a_directory_of_texts_is_written_where_a_link_points(gavamoe: CommandLine, run_path, pairs, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "texts").symlink_to(tmp_path / "disk")
    assert gavamoe("explain", run_path, "--pairs", pairs, "--out", tmp_path / "texts").returncode == 0
    assert (tmp_path / "texts").is_symlink()
    assert list((tmp_path / "disk").iterdir())


def test_evaluate_replaces_a_linked_file_of_a_run_and_not_what_it_points_to(gavamoe: CommandLine, run_path, tmp_path):
    run, shared = shutil.copytree(run_path, tmp_path / "run"), tmp_path / "metrics.json"
    shared.write_text("{}")
    (run / "metrics.json").unlink(missing_ok=True)
    (run / "metrics.json").symlink_to(shared)
    assert gavamoe("evaluate", run, "--limit", 5).returncode == 0
    assert shared.read_text() == "{}"


@pytest.mark.parametrize("part", PARTS)
def test_explain_writes_into_no_part_of_a_run(part, gavamoe: CommandLine, run_path, pairs, tmp_path):
    run = shutil.copytree(run_path, tmp_path / "run")
    refused = gavamoe("explain", run, "--pairs", pairs, "--out", run / part)
    assert refused.returncode == 2
    assert gavamoe("explain", run, "--user", "u01", "--item", "i01").returncode == 0


def test_export_and_diagnose_write_into_no_run(gavamoe: CommandLine, run_path, dataset_path, reviews, tmp_path):
    run = shutil.copytree(run_path, tmp_path / "run")
    assert gavamoe("export", run, "--out", run / "explainer" / "exported", "--cluster", 0).returncode == 2
    assert gavamoe("export", run, "--out", run / "explainer" / "exported").returncode == 2
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "report.html").write_text("of another program")
    for out in (run, dataset_path, reviews, mine):
        refused = gavamoe("diagnose", run, "--data", dataset_path, "--out", out)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert gavamoe("explain", run, "--user", "u01", "--item", "i01").returncode == 0
    for _ in range(2):
        assert gavamoe("diagnose", run, "--data", dataset_path, "--out", tmp_path / "diagnosis").returncode == 0


def test_simulate_replaces_a_simulation_but_no_reviews(gavamoe: CommandLine, reviews, tmp_path):
    out, size = tmp_path / "world.jsonl", ["--users", 8, "--items", 6, "--reviews", 20, "--clusters", 2]
    for _ in range(2):
        assert gavamoe("simulate", "--out", out, *size).returncode == 0
    before = reviews.read_text()
    assert gavamoe("simulate", "--out", reviews, *size).returncode == 2
    assert reviews.read_text() == before
    assert gavamoe("simulate", "--out", tmp_path / "a.csv", "--metadata", tmp_path / "a.csv", *size).returncode == 2


@pytest.mark.parametrize("dangling", [True, False])
def test_what_an_output_links_to_is_written_and_the_link_stays(dangling, gavamoe: CommandLine, tmp_path):
    target, link = tmp_path / "disk" / "data", tmp_path / "data"
    target.parent.mkdir()
    if not dangling:
        target.mkdir()
    link.symlink_to(target)
    rows = [{"user": f"u{n % 8}", "item": f"i{n % 5}", "rating": 1 + n % 5, "text": "good"} for n in range(40)]
    source = tmp_path / "reviews.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = gavamoe("prepare", source, "--out", link)
    assert link.is_symlink()
    assert (target / "card.json").exists() == (done.returncode == 0) == (not dangling)
