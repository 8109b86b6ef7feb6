"""benchmarks/speed/gpu.sh, small and on the CPU: every part of it runs, and a failing part does not end the others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.checkpoints import save_base

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "speed" / "gpu.sh"
PARTS = ("block", "writing-and-training", "training-from-scratch", "simulate", "prepare", "comparison")

pytestmark = pytest.mark.slow


def run(out: Path, base: str) -> str:
    """Run the script with a base model and return its summary."""
    environment = os.environ | {"SMALL": "1", "BASE": base, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([str(SCRIPT), str(out)], env=environment, check=True, capture_output=True, timeout=280)
    return (out / "summary.md").read_text(encoding="utf-8")


def section(summary: str, part: str) -> str:
    """Return what the summary says of a part."""
    return summary.split(f"## {part}\n")[1].split("\n## ")[0]


def test_every_part_ends_well_with_a_small_base_model(tmp_path):
    summary = run(tmp_path / "out", save_base(tmp_path / "base", chat=True))
    for part in PARTS:
        found = section(summary, part)
        assert " seconds" in found, found
        assert "failed" not in found
    assert "WRONG OUTPUTS" not in summary
    assert "lora" in section(summary, "comparison")


def test_a_part_that_fails_is_reported_and_the_others_go_on(tmp_path):
    summary = run(tmp_path / "out", str(tmp_path / "no such model"))
    assert "failed with code" in section(summary, "writing-and-training")
    assert "failed with code 2" in section(summary, "comparison")
    assert "failed" not in section(summary, "prepare")
