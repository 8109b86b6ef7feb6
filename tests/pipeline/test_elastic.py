"""A training that is killed and resumed with another number of processes takes the steps of an uninterrupted one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from helpers.worlds import TINY
from yaml import safe_dump

from gavamoe.config import parse_config
from gavamoe.pipeline.train import train_run

TESTS = Path(__file__).parents[1]
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
# Without early stopping: both epochs of stage 2 are needed.
SETTINGS = {**TINY, "explainer": {**TINY["explainer"], "epochs": 2, "patience": 2, "dropout": 0.0}}


@pytest.fixture(scope="module")
def uninterrupted(dataset_path, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    train_run(dataset_path, run, parse_config(SETTINGS))
    return run


def read(run: Path, stage: str) -> list[dict[str, float]]:
    return json.loads((run / "training.json").read_text())[stage]


def records(run: Path, stage: str, name: str) -> list[float]:
    return [record[name] for record in read(run, stage) if name in record]


def rows_by_epoch(log: Path) -> dict[int, Counter[int]]:
    rows: dict[int, Counter[int]] = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        epoch, row = map(int, line.split())
        rows.setdefault(epoch, Counter())[row] += 1
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("processes", [(2, 1, 2)])
def test_a_killed_training_is_resumed_by_another_number_of_processes(dataset_path, uninterrupted, tmp_path, processes):
    run, config = tmp_path / "run", tmp_path / "config.yaml"
    config.write_text(safe_dump(SETTINGS))
    path = os.pathsep.join(map(str, (TESTS.parent / "src", TESTS)))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    visited = []
    for part, (count, stop) in enumerate(zip(processes, ("preference", "explainer", "nowhere"), strict=True)):
        log = tmp_path / f"rows-{part}"
        launcher = LAUNCHER if count == 2 else []
        program = [str(TESTS / "helpers" / "elastic.py"), dataset_path, run, config, log, stop]
        done = subprocess.run([sys.executable, *launcher, *program], env=environment, capture_output=True, text=True)
        assert (done.returncode == 0) == (stop == "nowhere"), done.stderr
        visited.append(rows_by_epoch(log))

    for name in ("train_loss", "valid_nll", "valid_kl"):
        expected = records(uninterrupted, "preference", name)
        assert records(run, "preference", name) == pytest.approx(expected, rel=1e-4)
    for name in ("loss", "eval_loss"):
        expected = records(uninterrupted, "explainer", name)
        assert len(expected) > 1
        assert records(run, "explainer", name) == pytest.approx(expected, rel=1e-4)

    before, after = visited[1:]
    assert not visited[0]  # killed in stage 1
    assert set(after) == {1}  # the epoch that was finished is not repeated
    size = SETTINGS["explainer"]["batch_size"]
    for rows in (before[0], after[1]):
        count = max(rows) + 1
        steps = -(-count // size)
        assert set(rows) == set(range(count))  # every row, over all processes
        assert rows.total() == steps * size  # once, but for those that fill up the last step
        assert max(rows.values()) <= 2
