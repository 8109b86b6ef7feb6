"""Interruptions and a full disk: one line, no temporary copies, and both --resume and a fresh start go on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.weights import assert_same_weights
from safetensors.torch import load_file

from gavamoe.cli import main as cli
from gavamoe.config import RunConfig
from gavamoe.errors import RunError
from gavamoe.files import LOCK, only_one_process
from gavamoe.pipeline.train import train_run

TRAIN = [sys.executable, "-m", "gavamoe", "train"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_with_one_line_about_resume_and_without_temporary_copies(number, code, dataset_path, tmp_path):
    run = tmp_path / "run"
    command = [*TRAIN, str(dataset_path), "--out", str(run), "--preset", "tiny"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (run / "checkpoints" / "preference.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.splitlines()[-1].startswith("gavamoe: ")
    assert "--resume" in errors.splitlines()[-1]
    assert not list(run.rglob(".gavamoe*"))


@pytest.mark.parametrize("resume", [True, False])
def test_a_training_killed_before_run_yaml_existed_starts_anew(resume, dataset_path, run_path, tiny_config, tmp_path):
    run = tmp_path / "run"
    (run / ".gavamoe-tmp-0a1b2c3d").mkdir(parents=True)
    (run / ".gavamoe-tmp-0a1b2c3d" / "run.yaml").write_text("version: ")
    (run / LOCK).touch()
    train_run(dataset_path, run, tiny_config, preset="tiny", resume=resume, stage="preference")
    left, right = (load_file(path / "preference" / "model.safetensors") for path in (run, run_path))
    assert_same_weights(left, right)
    assert not list(run.glob(".gavamoe*"))


def test_a_resumed_training_without_settings_or_a_run_asks_for_them(dataset_path, tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(RunError, match="give the settings again"):
        train_run(dataset_path, tmp_path / "run", resume=True)


def test_two_trainings_cannot_work_in_one_run(dataset_path, tiny_config: RunConfig, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with only_one_process(run, "training in"):
        code = f"""
from pathlib import Path
from gavamoe.errors import RunError
from gavamoe.files import only_one_process
try:
    with only_one_process(Path({str(run)!r}), "training in"):
        print("both")
except RunError as error:
    print(error)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "another process is training in" in done.stdout
    with only_one_process(run, "training in"):
        assert (run / LOCK).is_file()
    assert not (run / LOCK).exists()


FULL = "No space left on device (os error 28)"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some/file"),
        RuntimeError(f"I/O error: {FULL}"),
        RuntimeError("PytorchStreamWriter failed writing file data/3"),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
        MemoryError(),
    ],
)
def test_a_full_disk_or_memory_is_one_line(error, monkeypatch, capsys):
    def fail(**options: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "full" in message


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_stdout_is_one_line(dataset_path):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "gavamoe", "data", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("gavamoe: the disk is full")
    assert "Traceback" not in done.stderr
