"""Long commands killed at file-system events: what existed stays whole, and a second call ends as if none was killed.

`helpers.killer` does the killing. GAVAMOE_KILL_EVERY_EVENT=1 tries every event instead of some: an hour of two cores.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.killer import FAILURES
from helpers.worlds import TINY

from gavamoe.conditions import Condition
from gavamoe.config import parse_config
from gavamoe.pipeline.evaluate import evaluate_run
from gavamoe.pipeline.train import train_run
from gavamoe.run import RunDirectory

# Fewer epochs than TINY: still the first and a later checkpoint of both phases of stage 1.
SHORT = {
    "preference": {**TINY["preference"], "pretrain_epochs": 2, "epochs": 2, "update_epochs": 2},
    "explainer": {**TINY["explainer"], "epochs": 2, "max_reviews": 64},
}
STEPS = {  # every so many events, for the time that a test may take
    "prepare": 2,
    "stage 1": 13,
    "stage 2": 23,
    "update": 73,
    "compare": 17,
    "tune": 11,
    "explain": 9,
    "evaluate": 9,
    "diagnose": 9,
}


@pytest.fixture
def jobs(dataset_path, run_path, reviews_file, tmp_path) -> dict[str, Any]:
    """What each test kills: the function of `helpers.killer`, and a function that returns its arguments."""
    out = str(tmp_path / "here" / "out")
    data, run, before = str(dataset_path), str(run_path), tmp_path / "before"

    def stage_1_alone() -> str:
        train_run(dataset_path, before, parse_config(SHORT), "tiny", stage="preference")
        return str(before)

    def evaluated() -> str:
        shutil.copytree(run_path, before)
        evaluate_run(RunDirectory(before), None, "test", Condition(), limit=5)
        return str(before)

    def pairs() -> str:
        path = tmp_path / "pairs.csv"
        path.write_text("user,item\n" + "".join(f"u{1 + n % 9:02},i{1 + n % 7:02}\n" for n in range(12)))
        return str(path)

    training = {"data": data, "out": out, "config": SHORT}
    systems = {"models": ["bias", "random-sentence"], "seeds": 1, "preset": "tiny", "conditions": [{}]}
    return {
        "prepare": ("prepare", lambda: {"source": str(reviews_file), "dataset": data, "out": out}),
        "stage 1": ("train", lambda: {**training, "stage": "preference"}),
        "stage 2": ("train", lambda: {**training, "stage": "explainer", "before": stage_1_alone()}),
        "update": ("train", lambda: {**training, "config": TINY, "stage": "all", "update": run}),
        "compare": ("compare", lambda: {"data": data, "out": out, "config": systems}),
        "tune": ("tune", lambda: {**training, "trials": 3}),
        "explain": ("explain", lambda: {"run": run, "pairs": pairs(), "out": out}),
        "evaluate": ("evaluate", lambda: {"evaluated": evaluated(), "out": out}),
        "diagnose": ("diagnose", lambda: {"run": run, "out": out}),
    }


@pytest.mark.slow
@pytest.mark.timeout(1200 if "GAVAMOE_KILL_EVERY_EVENT" not in os.environ else 7200)
@pytest.mark.parametrize("name", STEPS)
def test_a_command_killed_anywhere_and_called_again_ends_as_if_it_had_not_been(name, jobs, tmp_path):
    function, arguments = jobs[name]
    step = 1 if "GAVAMOE_KILL_EVERY_EVENT" in os.environ else STEPS[name]
    failures = tmp_path / "failures.txt"
    command = [sys.executable, "-m", "helpers.killer", function, str(step), json.dumps(arguments())]
    environment = {FAILURES: str(failures), "PATH": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:] + (failures.read_text() if Path(failures).exists() else "")
    ends, left = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: {len(ends) - 1} points")
    assert ends[-1] == "done"
    assert len(ends) > 3
    assert left == []
