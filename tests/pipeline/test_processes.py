"""Training with several processes or accumulated batches takes the same steps as one process; one process writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.worlds import TINY
from yaml import safe_dump

from gavamoe.config import parse_config
from gavamoe.pipeline.train import train_run

SRC = Path(__file__).parents[2] / "src"
# Batches too small to be divided into parts: the load balance is taken over each part, and one process has other parts
# than two.
EXACT = {"epochs": 1, "dropout": 0.0, "batch_size": 8}
SETTINGS = {**TINY, "explainer": {**TINY["explainer"], **EXACT}}


@pytest.fixture(scope="module")
def one(dataset_path, tmp_path_factory) -> Path:
    """Trained by one process, a step at a time."""
    run = tmp_path_factory.mktemp("one") / "run"
    train_run(dataset_path, run, parse_config(SETTINGS))
    return run


def losses(run: Path, name: str, stage: str = "explainer") -> list[float]:
    return [record[name] for record in json.loads((run / "training.json").read_text())[stage] if name in record]


@pytest.mark.slow
def test_two_processes_take_the_same_steps_as_one(dataset_path, one, tmp_path):
    run, config = tmp_path / "run", tmp_path / "config.yaml"
    config.write_text(safe_dump(SETTINGS))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "gavamoe"]
    words = ["train", str(dataset_path), "--out", str(run), "--config", str(config), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *launcher, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == str(run)  # ONE object, from one process
    for name in ("train_loss", "valid_nll", "valid_kl"):
        assert losses(run, name, "preference") == pytest.approx(losses(one, name, "preference"), rel=1e-4)
    assert len(losses(one, "loss")) >= 5
    assert losses(run, "loss") == pytest.approx(losses(one, "loss"), rel=1e-5)
    assert losses(run, "eval_loss") == pytest.approx(losses(one, "eval_loss"), rel=1e-5)
    assert {p.relative_to(run) for p in run.rglob("*")} == {p.relative_to(one) for p in one.rglob("*")}


def test_accumulation_and_gradient_checkpointing_take_the_same_steps(dataset_path, one, tmp_path):
    sparing = {"accumulation": 2, "gradient_checkpointing": True}
    config = parse_config({**SETTINGS, "explainer": {**SETTINGS["explainer"], **sparing}})
    train_run(dataset_path, tmp_path / "run", config)
    # The load balance is taken over each batch that is run at once, so here the losses differ a little.
    assert losses(tmp_path / "run", "loss") == pytest.approx(losses(one, "loss"), rel=2e-3)
    assert losses(tmp_path / "run", "eval_loss") == pytest.approx(losses(one, "eval_loss"), rel=2e-3)


def test_a_batch_size_that_the_processes_cannot_share_is_refused(dataset_path, tmp_path, monkeypatch):
    from gavamoe.errors import ConfigError
    from gavamoe.explainer import trainer as training

    monkeypatch.setattr(training, "world_size", lambda: 3)
    with pytest.raises(ConfigError, match="batch_size=32 cannot be shared by 3 processes with accumulation 1"):
        train_run(dataset_path, tmp_path / "run", parse_config(TINY))


def test_tensorboard_is_written_if_enabled_and_refused_if_not_installed(dataset_path, tmp_path):
    from importlib.util import find_spec

    from gavamoe.errors import ConfigError

    config = parse_config({**SETTINGS, "explainer": {**SETTINGS["explainer"], "tensorboard": True}})
    if find_spec("tensorboard") is None:
        with pytest.raises(ConfigError, match="its package: pip install"):
            train_run(dataset_path, tmp_path / "run", config)
    else:
        train_run(dataset_path, tmp_path / "run", config)
        assert list((tmp_path / "run" / "tensorboard").glob("events.*"))
