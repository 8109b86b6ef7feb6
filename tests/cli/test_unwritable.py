"""An output that cannot be written is one line that names the place, in every command that writes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from helpers.command_line import CommandLine

COMMANDS = {
    "prepare": "prepare REVIEWS --out PLACE",
    "simulate": "simulate --out PLACE.csv --users 10 --items 5 --reviews 30",
    "metadata": "simulate --out OUT.csv --users 10 --items 5 --reviews 30 --metadata PLACE.csv",
    "train": "train DATA --out PLACE --preset tiny",
    "compare": "compare DATA --out PLACE --models mf --seeds 1",
    "tune": "tune DATA --out PLACE --trials 1 --preset tiny",
    "export": "export RUN --out PLACE",
    "export of a cluster": "export RUN --cluster 0 --out PLACE",
    "explain": "explain RUN --pairs PAIRS --out PLACE.csv",
    "diagnose": "diagnose RUN --out PLACE",
    "demo": "demo --out PLACE",
    "data get": "data get amazon-2018-gift-cards --out PLACE",
}


def _places(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "file").write_text("not a directory")
    (tmp_path / "loop").symlink_to("loop")
    system = Path("/proc" if sys.platform == "linux" else "/dev")  # no user, not even root, creates files there
    return {"system": system / "x", "file": tmp_path / "file" / "x", "loop": tmp_path / "loop" / "x"}


@pytest.mark.parametrize("kind", ["system", "file", "loop"])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_that_cannot_be_written_is_one_line(
    command, kind, gavamoe: CommandLine, run_path, dataset_path, reviews_file, tmp_path
):
    (tmp_path / "pairs.csv").write_text("user,item\nu01,i01\n")
    place = _places(tmp_path)[kind]
    given = {"REVIEWS": reviews_file, "DATA": dataset_path, "RUN": run_path, "PAIRS": tmp_path / "pairs.csv"}
    given |= {"PLACE": place, "PLACE.csv": f"{place}.csv", "OUT.csv": tmp_path / "out.csv"}
    done = gavamoe(*(given.get(word, word) for word in COMMANDS[command].split()))
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("gavamoe:")]
    assert str(place.parent) in line
    assert "choose another" in line


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("command", ["train", "compare", "tune"])
def test_a_directory_that_holds_no_files_is_not_taken_for_one_in_use(command, gavamoe: CommandLine, dataset_path):
    given = {"DATA": dataset_path, "PLACE": "/proc"}
    done = gavamoe(*(given.get(word, word) for word in COMMANDS[command].split()))
    assert done.returncode == 2
    assert "another process" not in done.stderr
    assert "choose another" in done.stderr
