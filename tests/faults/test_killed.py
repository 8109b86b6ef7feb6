"""Long commands killed at every file-system event: what existed stays whole, and the next command goes on.

One process imports everything and forks a child per point; the child kills itself at the n-th event of its audit hook.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.worlds import TINY

from gavamoe.config import parse_config
from gavamoe.pipeline.train import train_run

# Fewer epochs than TINY: still the first and a later checkpoint of both phases of stage 1.
SHORT = {
    "preference": {**TINY["preference"], "pretrain_epochs": 2, "epochs": 2},
    "explainer": {**TINY["explainer"], "epochs": 2, "max_reviews": 64},
}
STAGE_2_STEP, COMPARE_STEP = 10, 9  # every so many events; docs/reliability.md says when every event was tried

KILLER = """
import gc, json, os, sys
from pathlib import Path

EVENTS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree", "open"}

def run(work, point):
    '''Return how the child ended: "killed", or "done" if there are fewer than `point` events.'''
    gc.freeze()  # no child collects what the parent has imported
    child = os.fork()
    if child == 0:
        seen = [0]
        def hook(event, arguments):
            if event not in EVENTS or (event == "open" and not (isinstance(arguments[2], int) and arguments[2] & 3)):
                return
            seen[0] += 1
            if seen[0] == point:
                os.kill(os.getpid(), 9)
        sys.stdout = sys.stderr = open(os.devnull, "w")
        if point:
            sys.addaudithook(hook)
        try:
            work()
        except BaseException as error:
            open(os.environ["FAILURES"], "a").write(f"{point}: {error!r}\\n")
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return "killed" if os.WIFSIGNALED(status) else "failed" if os.waitstatus_to_exitcode(status) else "done"
"""

PREPARE = """
from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
# What the card imports to draw, once instead of in each child.
import matplotlib.backends.backend_agg, matplotlib.figure, mpl_toolkits.mplot3d
source, out = sys.argv[1], Path(sys.argv[2])
def again():
    prepare([source], out, PrepareOptions(seed=1))
def check():
    dataset = ReviewDataset.load(out)
    assert len(dataset.catalog.users) and len(dataset.interactions()) == len(dataset)
    assert dataset.card["splits"]["seed"] in (0, 1)
points, ends = int(sys.argv[3]), []
while not ends or ends[-1] == "killed":
    ends.append(run(again, 1 + len(ends) * points))
    assert run(check, 0) == "done", len(ends)
assert run(again, 0) == "done"
print(json.dumps(ends + [sorted(path.name for path in out.parent.iterdir())]))
"""

RESUMED = """
import shutil
from gavamoe.files import sha256_of_file
def timeless(value):  # trainer_state.json, which a resumed training reads, has its keys in another order
    if isinstance(value, list):
        return [timeless(each) for each in value]
    if isinstance(value, dict):
        return {name: timeless(each) for name, each in value.items() if "second" not in name and "runtime" not in name}
    return value
def content():
    return {path.relative_to(out): digest(path) for path in out.rglob("*") if path.is_file()}
def start_anew():
    shutil.rmtree(out, ignore_errors=True)
    if before is not None:
        shutil.copytree(before, out)
start_anew()
assert run(lambda: work(False), 0) == "done"
expected = content()
points, ends = int(sys.argv[3]), []
while not ends or ends[-1] == "killed":
    start_anew()
    ends.append(run(lambda: work(False), 1 + len(ends) * points))
    if ends[-1] == "killed":
        assert run(lambda: work(out.exists()), 0) == "done", len(ends)
        found = content()
        other = [path for path in found | expected if found.get(path) != expected.get(path)]
        assert other == [], (len(ends), other)
print(json.dumps(ends + [sorted(path.name for path in out.parent.iterdir() if path.name[0] == ".")]))
"""

TRAIN = (
    """
from gavamoe.config import parse_config
from gavamoe.files import sha256_of_file
from gavamoe.pipeline.train import train_run
data, out, config, stage = Path(sys.argv[1]), Path(sys.argv[2]), parse_config(json.loads(sys.argv[4])), sys.argv[5]
before = Path(sys.argv[6]) if stage == "explainer" else None
def work(resume):
    train_run(data, out, config, "tiny", stage=stage, resume=resume)
def digest(path):
    if path.name == "manifest.json":  # has the checksum of training.json
        return sorted(json.loads(path.read_text())["files"])
    return timeless(json.loads(path.read_text())) if path.name == "training.json" else sha256_of_file(path)
"""
    + RESUMED
)

COMPARE = (
    """
from gavamoe.experiments.compare import run as compare
from gavamoe.experiments.config import CompareConfig
import matplotlib.backends.backend_agg, matplotlib.figure
data, out, before = Path(sys.argv[1]), Path(sys.argv[2]), None
def work(resume):
    compare(data, out, CompareConfig(**json.loads(sys.argv[4])), "valid", resume=resume)
def digest(path):
    if path.suffix != ".json":
        return path.read_bytes() if path.name == "predictions.jsonl" else None  # tables and pages have the seconds
    return timeless(json.loads(path.read_text()))
"""
    + RESUMED
)


def _kill(script: str, tmp_path: Path, *arguments: object) -> list:
    failures = tmp_path / "failures.txt"
    command = [sys.executable, "-c", KILLER + script, *map(str, arguments)]
    environment = {"FAILURES": str(failures), "PATH": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:] + (failures.read_text() if failures.exists() else "")
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_prepare_killed_anywhere_leaves_the_old_or_the_new_dataset(dataset_path, reviews_file, tmp_path):
    shutil.copytree(dataset_path, tmp_path / "here" / "data")
    *ends, left = _kill(PREPARE, tmp_path, reviews_file, tmp_path / "here" / "data", 1)
    assert ends[-1] == "done"
    assert len(ends) > 20
    assert left == ["data"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_training_of_stage_1_killed_anywhere_and_resumed_ends_bit_equal(dataset_path, tmp_path):
    run = tmp_path / "here" / "run"
    *ends, left = _kill(TRAIN, tmp_path, dataset_path, run, 3, json.dumps(SHORT), "preference")
    assert ends[-1] == "done"
    assert len(ends) > 10
    assert left == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_training_of_stage_2_killed_anywhere_and_resumed_ends_bit_equal(dataset_path, tmp_path):
    before, run = tmp_path / "stage-1", tmp_path / "here" / "run"
    train_run(dataset_path, before, parse_config(SHORT), "tiny", stage="preference")
    *ends, left = _kill(TRAIN, tmp_path, dataset_path, run, STAGE_2_STEP, json.dumps(SHORT), "explainer", before)
    assert ends[-1] == "done"
    assert len(ends) > 5
    assert left == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_comparison_killed_anywhere_and_resumed_has_the_same_results(dataset_path, tmp_path):
    config = {"models": ["bias", "random-sentence"], "seeds": 1, "preset": "tiny", "conditions": [{}]}
    *ends, left = _kill(
        COMPARE, tmp_path, dataset_path, tmp_path / "here" / "comparison", COMPARE_STEP, json.dumps(config)
    )
    assert ends[-1] == "done"
    assert len(ends) > 5
    assert left == []
