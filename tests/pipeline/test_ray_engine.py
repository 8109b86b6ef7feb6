"""Files of pairs explained on Ray: the texts of the local engine, also when workers or the driver are killed."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter

import polars as pl
import pytest

from gavamoe.conditions import Condition
from gavamoe.errors import RunError
from gavamoe.pipeline.explain_file import explain_file
from gavamoe.pipeline.pair_windows import WindowRequest, split_into_windows

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'gavamoe[ray]'")

from helpers.ray_workers import two_workers  # noqa: E402

from gavamoe.pipeline import ray_engine as module  # noqa: E402
from gavamoe.pipeline.ray_engine import ray_engine  # noqa: E402

COUNT, WINDOW, KILLED = 32, 4, 5
PROGRAM = """
import sys
from pathlib import Path
from gavamoe.conditions import Condition
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.explain_file import explain_file
from gavamoe.pipeline.pair_windows import local_engine
from gavamoe.pipeline.ray_engine import ray_engine
run, pairs, out = map(Path, sys.argv[2:])
explainer = Explainer.from_pretrained(run)
engine = ray_engine(run) if sys.argv[1] == "ray" else local_engine(explainer)
explain_file(explainer, pairs, out, Condition(), resume=True, window={window}, engine=engine)
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def cluster():
    """A local cluster with processors for two workers."""
    with two_workers() as address:
        yield address


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.parquet"
    users = [f"u{i % 41:02d}" for i in range(COUNT)]
    pl.DataFrame({"user": users, "item": [f"i{i % 23:02d}" for i in range(COUNT)]}).write_parquet(path)
    return path


@pytest.fixture
def starts(tmp_path, monkeypatch):
    """Record the start of every window; return a function that lists (number, process) of all starts.

    The worker of window `KILLED` is killed when it has written its texts for the first time, before it returns them.
    """
    log, killed = tmp_path / "starts", tmp_path / "killed"
    log.mkdir()

    class RecordingWorker(module.RunWorker):  # defined here, so that Ray sends the class itself to the workers
        def __call__(self, row):
            number = pickle.loads(row["window"]).number
            (log / f"{number}.{os.getpid()}").touch()
            explained = super().__call__(row)
            if number == KILLED and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return explained

    monkeypatch.setattr(module, "RunWorker", RecordingWorker)
    return lambda: [tuple(map(int, path.name.split("."))) for path in log.iterdir()]


def explain(explainer, pairs, out, **options):
    return explain_file(explainer, pairs, out, Condition(), window=WINDOW, **options)


def test_a_killed_worker_costs_only_time(cluster, run_path, explainer, pairs, tmp_path, starts):
    kept = []

    def keep(rows, explained, evidence, histories):
        kept.extend(rows.iter_rows())

    keep.label = "a store"
    explain(explainer, pairs, tmp_path / "ray.parquet", keep=keep, engine=ray_engine(run_path))
    explain(explainer, pairs, tmp_path / "local.parquet")
    assert pl.read_parquet(tmp_path / "ray.parquet").equals(pl.read_parquet(tmp_path / "local.parquet"))
    assert sorted(kept) == sorted(pl.read_parquet(pairs).iter_rows())  # no pair arrived twice
    times_started = Counter(number for number, _ in starts())
    assert times_started == {number: 1 + (number == KILLED) for number in range(COUNT // WINDOW)}
    assert len({process for _, process in starts()}) >= 2


def test_work_of_killed_drivers_is_finished_by_another_engine(cluster, run_path, explainer, pairs, tmp_path, starts):
    out, parts = tmp_path / "texts", tmp_path / ".texts.parts"
    environment = {**os.environ, "RAY_ADDRESS": cluster}
    done = set()
    for engine in ("local", "ray"):
        command = [sys.executable, "-c", PROGRAM.format(window=WINDOW), engine, run_path, pairs, out]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
        while len(set(parts.glob("0*.parquet")) - done) < 2 and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL, process.stderr.read().decode()
        assert done < set(parts.glob("0*.parquet"))
        done = set(parts.glob("0*.parquet"))
    assert not out.exists()
    explain(explainer, pairs, out, resume=True, engine=ray_engine(run_path))
    explain(explainer, pairs, tmp_path / "local.parquet")
    assert pl.read_parquet(out).equals(pl.read_parquet(tmp_path / "local.parquet"))
    assert {number for number, _ in starts()} == set(range(COUNT // WINDOW)) - {int(path.stem) for path in done}


def test_a_machine_with_another_run_is_named(cluster, run_path, explainer):
    windows = split_into_windows(pl.DataFrame({"user": ["u01"], "item": ["i01"]}), None, WINDOW)
    request = WindowRequest(Condition(), explainer.decoding, 0, "digest of another run")
    with pytest.raises(RunError, match=f"has another run at {run_path}; copy the run there"):
        list(ray_engine(run_path)(windows, request, lambda steps, text: None))
