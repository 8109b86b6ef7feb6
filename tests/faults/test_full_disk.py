"""A disk that fills up while a command writes: one line, exit 2, nothing half-written, a training that resumes."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.worlds import TINY
from yaml import safe_dump

MEGABYTES = 64
BLOCK = 4096
SHARES = (0.0, 0.3, 0.7, 0.95)  # of the space that a command needs
CONFIG = {**TINY, "explainer": {**TINY["explainer"], "epochs": 1}}


def contents(directory: Path) -> dict[Path, bytes]:
    """Return the content of every file below a directory."""
    return {each: each.read_bytes() for each in sorted(directory.rglob("*")) if each.is_file()}


class Disk:
    """A small disk of its own."""

    def __init__(self, path: Path):
        self.path = path

    def used(self) -> int:
        """Return the bytes that are in use."""
        return sum(each.stat().st_blocks * 512 for each in self.path.rglob("*"))

    def leave(self, free: int) -> None:
        """Fill the disk until so many bytes are free."""
        self.empty()
        # The system's count of free blocks is approximate, and deleted files that are still open are in no directory.
        with (self.path / "filler").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(BLOCK))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            file.truncate(max(0, file.tell() - free))

    def empty(self) -> None:
        """Delete what fills the disk."""
        (self.path / "filler").unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Return what else is on the disk, hidden files too."""
        return sorted(each.name for each in self.path.iterdir() if each.name != "filler")


@pytest.fixture
def disk(tmp_path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", path], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def commands(reviews_file, dataset_path, run_path, tmp_path) -> dict[str, list[object]]:
    """Each command that writes into a directory or file of its own, without `--out`."""
    pairs, config = tmp_path / "pairs.csv", tmp_path / "config.yaml"
    pairs.write_text("user,item\nu01,i01\nu02,i02\n")
    config.write_text(safe_dump(CONFIG))
    return {
        "simulate": ["simulate", "--users", 40, "--items", 20, "--reviews", 500],
        "prepare": ["prepare", reviews_file],
        "train": ["train", dataset_path, "--config", config],
        "explain": ["explain", run_path, "--pairs", pairs],
        "diagnose": ["diagnose", run_path],
        "export": ["export", run_path, "--cluster", 0],
        "compare": ["compare", dataset_path, "--models", "bias,random-sentence", "--seeds", 1, "--preset", "tiny"],
        "tune": ["tune", dataset_path, "--stage", "preference", "--trials", 2, "--config", config],
    }


RESUMABLE = ("train", "explain", "compare", "tune")
NAMES = {"simulate": "reviews.jsonl.gz", "explain": "texts.parquet"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simulate", "prepare", "train", "explain", "diagnose", "export", "compare", "tune"])
def test_a_full_disk_ends_a_command_in_one_line_and_leaves_nothing_half_written(name, commands, disk, gavamoe):
    out = disk.path / NAMES.get(name, "out")
    command = [*commands[name], "--out", out]
    whole = gavamoe(*command)
    assert whole.returncode == 0, whole.stderr
    needed, expected = disk.used(), disk.names()
    for share in SHARES:
        subprocess.run(["rm", "-rf", *(disk.path / each for each in disk.names())], check=True)
        disk.leave(int(share * needed) // BLOCK * BLOCK)
        done = gavamoe(*command)
        if done.returncode == 0 and share:
            assert disk.names() == expected, (share, done)
            continue
        assert done.returncode == 2, (share, done)
        assert "disk is full" in done.stderr.splitlines()[-1], (share, done)
        assert "Traceback" not in done.stderr
        if name in RESUMABLE and disk.names():
            disk.empty()
            resumed = gavamoe(*command, "--resume")
            assert resumed.returncode == 0, resumed
            assert disk.names() == expected
        else:
            assert disk.names() == []


@pytest.mark.slow
def test_a_full_disk_ends_an_evaluation_in_one_line_and_keeps_the_earlier_one(run_path, disk, gavamoe):
    run = disk.path / "run"
    shutil.copytree(run_path, run)
    assert gavamoe("evaluate", run, "--limit", 20).returncode == 0
    before = contents(run)
    for free in (0, 2 * BLOCK, 8 * BLOCK, 2**22):
        disk.leave(free)
        done = gavamoe("evaluate", run, "--limit", 15)
        if done.returncode == 0:
            break
        assert "disk is full" in done.stderr.splitlines()[-1], (free, done)
        assert contents(run) == before
    else:
        raise AssertionError("the evaluation never fitted")
