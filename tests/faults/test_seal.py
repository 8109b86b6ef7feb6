"""The seal of a run: parts of another run, damage and additions are found when the run is read, and named."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.runs import unsealed_copy

from gavamoe import seal
from gavamoe.conditions import Condition
from gavamoe.errors import RunError
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.diagnose import diagnose_run
from gavamoe.pipeline.evaluate import evaluate_run
from gavamoe.pipeline.train import train_run
from gavamoe.run import RunDirectory
from gavamoe.seal import MANIFEST, check_seal, write_seal

PARTS = (
    "run.yaml",
    "training.json",
    "catalog/users.parquet",
    "catalog/catalog.json",
    "preference/model.safetensors",
    "explainer/tokenizer.json",
    "explainer/features.parquet",
    "explainer/evidence.parquet",
    "explainer/model.safetensors",
)


@pytest.fixture
def run(run_path, tmp_path) -> Path:
    return shutil.copytree(run_path, tmp_path / "run")


def _refused(run: Path, verify: bool = False) -> str:
    with pytest.raises(RunError) as raised:
        Explainer.from_pretrained(run, verify=verify)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_seal_lists_every_file_that_answers_depend_on(run):
    listed = json.loads((run / MANIFEST).read_text())["files"]
    parts = {path for folder in ("catalog", "preference", "explainer") for path in (run / folder).rglob("*")}
    assert listed.keys() == {path.relative_to(run).as_posix() for path in parts} | {"run.yaml", "training.json"}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_not_the_runs_is_named(name, run):
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # as long as the part was
    assert str(run / name) in _refused(run)


def test_a_missing_part_and_one_too_many_are_named(run):
    (run / "explainer" / "clusters.json").write_text('{"source": "one", "count": 1, "seed": 0, "centres": []}')
    assert "clusters.json does not belong" in _refused(run)
    (run / "explainer" / "clusters.json").unlink()
    (run / "catalog" / "features.json").unlink()
    assert "catalog/features.json is missing" in _refused(run)


def test_a_run_without_its_evidence_loads_and_says_so(run, caplog):
    (run / "explainer" / "evidence.parquet").unlink()
    with caplog.at_level(logging.WARNING):
        Explainer.from_pretrained(run)
    assert "has no explainer/evidence.parquet" in caplog.text


@pytest.mark.slow
def test_absent_evidence_is_reported_in_the_output(run, dataset_path):
    assert RunDirectory(run).absent == []
    (run / "explainer" / "evidence.parquet").unlink()
    assert RunDirectory(run).absent == ["explainer/evidence.parquet"]
    comparison, _ = evaluate_run(RunDirectory(run), None, "test", Condition(), limit=3)
    assert comparison.evaluation.to_dict()["conditions"]["absent"] == ["explainer/evidence.parquet"]
    command = [sys.executable, "-m", "gavamoe", "explain", str(run), "--user", "u01", "--item", "i03", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["absent"] == ["explainer/evidence.parquet"]


def test_a_served_run_is_read_as_a_whole_on_request(run, monkeypatch):
    served_run = pytest.importorskip("gavamoe.service.served_run", reason="needs the extra `serve`")
    monkeypatch.setattr(seal, "LARGE", 1000)
    monkeypatch.setattr(seal, "BLOCK", 1)
    RunDirectory(run).seal()
    weights = run / "explainer" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1000] ^= 1  # between the blocks that the quick check reads
    weights.write_bytes(content)
    served_run.ServedRun.load(run)
    with pytest.raises(RunError, match="explainer/model"):
        served_run.ServedRun.load(run, verify=True)


def test_a_run_without_a_seal_loads_and_says_so(run_path, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        Explainer.from_pretrained(unsealed_copy(run_path, tmp_path / "run"))
    assert f"has no {MANIFEST}" in caplog.text


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "null", '{"version": 1, "files": []}', '{"version": 9, "files": {}}']
)
def test_a_damaged_seal_is_one_line(content, run):
    (run / MANIFEST).write_text(content)
    assert MANIFEST in _refused(run)


def test_diagnose_reads_the_seal_first(run, tmp_path):
    (run / "preference" / "config.json").write_text("{}")
    with pytest.raises(RunError, match=r"preference/config\.json"):
        diagnose_run(run, tmp_path / "out")


def test_large_files_are_checked_in_part_and_thoroughly_on_request(tmp_path, monkeypatch):
    monkeypatch.setattr(seal, "LARGE", 1000)
    monkeypatch.setattr(seal, "BLOCK", 10)
    path = tmp_path / "weights"
    path.write_bytes(bytes(5000))
    write_seal(tmp_path, [path])
    for place in (0, 4999):  # header and end
        changed = bytearray(5000)
        changed[place] = 1
        path.write_bytes(changed)
        with pytest.raises(RunError, match="weights"):
            check_seal(tmp_path, [path])
    changed = bytearray(5000)
    changed[100] = 1
    path.write_bytes(changed)
    check_seal(tmp_path, [path])
    with pytest.raises(RunError, match="weights"):
        check_seal(tmp_path, [path], thorough=True)


def test_a_base_model_may_move(tmp_path):
    path = tmp_path / "adapter_config.json"
    path.write_text('{"base_model_name_or_path": "here", "r": 8}')
    write_seal(tmp_path, [path])
    path.write_text('{"base_model_name_or_path": "a longer name", "r": 8}')
    check_seal(tmp_path, [path])
    path.write_text('{"base_model_name_or_path": "here", "r": 9}')
    with pytest.raises(RunError, match="adapter_config"):
        check_seal(tmp_path, [path])


def test_training_reads_the_seal_and_keeps_it_true(run, dataset_path):
    train_run(dataset_path, run, resume=True)
    Explainer.from_pretrained(run)
    RunDirectory(run).check_seal(thorough=True)
    weights = run / "preference" / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"0")
    with pytest.raises(RunError, match="preference/model"):
        train_run(dataset_path, run, resume=True)


def test_a_finished_run_without_a_seal_is_sealed_by_resuming(run_path, dataset_path, tmp_path):
    run = unsealed_copy(run_path, tmp_path / "run")
    train_run(dataset_path, run, resume=True)
    assert (run / MANIFEST).read_bytes() == (run_path / MANIFEST).read_bytes()


def test_what_a_run_is_evaluated_to_is_outside_of_the_seal(run):
    (run / "metrics.json").write_text("{}")
    (run / "evaluations").mkdir()
    (run / "README.md").write_text("my own words")
    RunDirectory(run).check_seal(thorough=True)
    assert torch.is_tensor(next(Explainer.from_pretrained(run).model.parameters()))
