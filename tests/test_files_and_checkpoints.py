"""Files that gavamoe writes and reads, the state of a training, and where paths and the version are defined."""

import hashlib
import math
import subprocess
import sys
import tomllib
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest
import torch

import gavamoe
from gavamoe.checkpoint import TrainingProgress, copy_tensors, load_state, save_state
from gavamoe.errors import ConfigError, RunError
from gavamoe.files import reading, sha256_of_file, staged_file

ROOT = Path(__file__).parents[1]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "kept.txt"
    path.write_text("old")

    def interrupted() -> None:
        with staged_file(path) as staged:
            staged.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [file.name for file in tmp_path.iterdir()] == ["kept.txt"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("error", [OSError(), ValueError(), KeyError("x"), pl.exceptions.ComputeError("bad")])
def test_a_failed_read_becomes_a_run_error_that_names_the_file(error):
    with pytest.raises(RunError, match=r"^a/file is damaged or of another version"), reading(Path("a/file")):
        raise error


def test_reading_keeps_the_message_of_an_input_error():
    with pytest.raises(ConfigError, match=r"^as it was$"), reading(Path("a/file")):
        raise ConfigError("as it was")


def test_sha256_of_file_is_the_checksum_of_its_bytes(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"some bytes" * 100_000)
    assert sha256_of_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_light_modules_import_neither_polars_nor_torch():
    code = "import sys, gavamoe.files, gavamoe.run, gavamoe.conditions; print({'polars', 'torch'} & {*sys.modules})"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "set()"


def test_the_version_is_defined_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "gavamoe._version.__version__"}
    assert gavamoe.__version__ == gavamoe._version.__version__


def test_training_progress_survives_a_checkpoint(tmp_path):
    progress = TrainingProgress(phase="joint", epoch=3, best=math.inf, stale=1, history=[{"phase": "joint"}])
    weights = {"w": torch.randn(3)}
    save_state(tmp_path / "state", {"progress": asdict(progress), "weights": weights})
    state = load_state(tmp_path / "state")
    assert TrainingProgress(**state["progress"]) == progress
    assert torch.equal(state["weights"]["w"], weights["w"])


def test_early_stopping_counts_epochs_since_the_best_of_the_phase():
    progress = TrainingProgress(phase=0)
    assert [progress.improves(value) for value in (3.0, 2.0, 2.0, 4.0)] == [True, True, False, False]
    assert (progress.best, progress.stale) == (2.0, 2)
    assert progress.phase_is_over(epochs=10, patience=2)
    assert not progress.phase_is_over(epochs=10, patience=3)
    progress.start_phase(1)
    assert (progress.phase, progress.epoch, progress.best, progress.stale) == (1, 0, math.inf, 0)


def test_copied_tensors_do_not_change_with_training():
    weight = torch.nn.Parameter(torch.ones(2))
    copy = copy_tensors([("w", weight)])
    with torch.no_grad():
        weight.add_(1)
    assert copy["w"].tolist() == [1, 1]
    assert not copy["w"].requires_grad
