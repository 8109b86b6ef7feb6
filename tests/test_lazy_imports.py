"""What must start fast imports no heavy library: checked by the loaded modules, not by the clock."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TENSOR_LIBRARIES = {"accelerate", "peft", "torch", "transformers"}
HEAVY = {*TENSOR_LIBRARIES, "matplotlib", "polars", "scipy", "sklearn"}

# Prints, as the last line of stdout, the loaded heavy libraries after `import gavamoe` and after each command line.
PROGRAM = """
import json, sys
heavy, command_lines = json.loads(sys.argv[1])
import gavamoe
loaded = [sorted(sys.modules.keys() & set(heavy))]
from gavamoe.cli.main import main
for command_line in command_lines:
    sys.argv = ["gavamoe", *command_line]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, (command_line, stop.code)
    loaded.append(sorted(sys.modules.keys() & set(heavy)))
print()
print(json.dumps(loaded))
"""


def loaded_after(*command_lines: list[str]) -> dict[str, set[str]]:
    """Return the heavy libraries that one fresh process has loaded after `import gavamoe` and each command line."""
    arguments = json.dumps([sorted(HEAVY), command_lines])
    done = subprocess.run([sys.executable, "-c", PROGRAM, arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = ["import gavamoe", *(" ".join(command_line) for command_line in command_lines)]
    return dict(zip(names, map(set, json.loads(done.stdout.splitlines()[-1])), strict=True))


def commands() -> list[str]:
    """Return the names of all commands of the command line."""
    done = subprocess.run([sys.executable, "-m", "gavamoe", "--help"], capture_output=True, text=True, check=True)
    lines = done.stdout.partition("Commands:")[2].splitlines()
    return [line.split()[0] for line in lines if line.startswith("  ") and not line.startswith("   ")]


def test_import_version_and_help_load_no_heavy_library():
    names = commands()
    assert {"prepare", "train", "evaluate", "score", "explain", "compare"} <= set(names)
    loaded = loaded_after(["--version"], ["--help"], *([name, "--help"] for name in names))
    assert not {after: libraries for after, libraries in loaded.items() if libraries}


def test_scoring_texts_loads_neither_torch_nor_matplotlib(tmp_path: Path):
    rows = [{"prediction": "a warm pool", "reference": "the pool was warm", "rating": 4, "predicted_rating": 3.5}]
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    *_, loaded = loaded_after(["score", str(path)], ["score", str(path), "--json"]).values()
    assert "polars" in loaded  # the program sees what a command loads
    assert not loaded & {*TENSOR_LIBRARIES, "matplotlib"}


def test_preparing_data_loads_no_tensor_library(
    tmp_path: Path, write_lines: Callable[..., Path], reviews: list[dict[str, Any]]
):
    source = write_lines("reviews.jsonl.gz", reviews)
    *_, loaded = loaded_after(["prepare", str(source), "--out", str(tmp_path / "data")]).values()
    assert "polars" in loaded
    assert not loaded & TENSOR_LIBRARIES


def test_the_dataset_class_loads_no_tensor_library():
    program = "import sys, gavamoe; gavamoe.ReviewDataset; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "polars" in done.stdout.split()
    assert not TENSOR_LIBRARIES & set(done.stdout.split())
