"""Run a job again and again, killed at a later file-system event each time, and compare what a second call ends with.

    python -m helpers.killer NAME STEP ARGUMENTS    ARGUMENTS: JSON object of the job's function

One process imports everything and forks a child per point. The child kills itself at an event of its audit hook. What
it leaves is checked, the job is called again, and its files are compared with those of a job that was never killed. The
last line of output is JSON: how each child ended, and which temporary files are left.
"""

from __future__ import annotations

import csv
import gc
import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVENTS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree", "open"}
FAILURES = "KILLER_FAILURES"  # environment variable: the file that gets the errors of children


@dataclass(frozen=True)
class Job:
    """A command that is killed.

    Args:
        out: what it writes into.
        work: does it; its argument says whether to resume.
        digest: what must be equal in a file of `out`; None: nothing.
        before: the directory that `out` starts as; None: absent.
        begun: whether an interrupted job is to be resumed.
        check: raises an error if what a killed job left cannot be used.
    """

    out: Path
    work: Callable[[bool], object]
    digest: Callable[[Path], object]
    before: Path | None = None
    begun: Callable[[], bool] = lambda: False
    check: Callable[[], object] = lambda: None

    def start_anew(self) -> None:
        """Make `out` what it is before the first call."""
        shutil.rmtree(self.out, ignore_errors=True)
        if self.before is not None:
            shutil.copytree(self.before, self.out)

    def content(self) -> dict[Path, object]:
        """Return what must be equal in each file."""
        return {path.relative_to(self.out): self.digest(path) for path in self.out.rglob("*") if path.is_file()}


def forked(work: Callable[[], object], point: int = 0) -> str:
    """Run `work` in a child that kills itself at an event, and return "killed", "failed" or "done".

    Args:
        work: what to run.
        point: number of the event, from 1 on; 0 kills nothing.
    """
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            if event not in EVENTS or (event == "open" and not _writes(arguments[2])):
                return
            seen += 1
            if seen == point:
                os.kill(os.getpid(), 9)

        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 # until the child ends
        if point:
            sys.addaudithook(hook)
        try:
            work()
        except BaseException as error:
            with open(os.environ[FAILURES], "a") as file:
                file.write(f"{point}: {error!r}\n")
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return "killed" if os.WIFSIGNALED(status) else "failed" if os.waitstatus_to_exitcode(status) else "done"


def _writes(flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def kill_everywhere(job: Job, step: int) -> list[str]:
    """Kill a job at every `step`-th event until it survives, and return how each call ended."""
    gc.freeze()  # no child collects what the parent has imported
    job.start_anew()
    assert forked(lambda: job.work(False)) == "done"
    expected = job.content()
    ends: list[str] = []
    while not ends or ends[-1] == "killed":
        job.start_anew()
        point = 1 + len(ends) * step
        ends.append(forked(lambda: job.work(False), point))
        if ends[-1] == "killed":
            assert forked(job.check) == "done", point
            assert forked(lambda: job.work(job.begun())) == "done", point
            found = job.content()
            other = [path for path in found | expected if found.get(path) != expected.get(path)]
            assert other == [], (point, other)
    return ends


def sha256(path: Path) -> str:
    """Return the checksum of a file."""
    from gavamoe.files import sha256_of_file

    return sha256_of_file(path)


def timeless(value: Any) -> Any:
    """Return a JSON value without durations, and with the keys of objects in any order."""
    if isinstance(value, list):
        return [timeless(each) for each in value]
    if isinstance(value, dict):
        return {name: timeless(each) for name, each in value.items() if "second" not in name and "runtime" not in name}
    return value


def of_json(path: Path) -> object:
    """Return what must be equal in a JSON file; None for other files, such as pages, which may show durations."""
    return timeless(json.loads(path.read_text())) if path.suffix == ".json" else None


def import_to_draw() -> None:
    """Import what draws, once instead of in each child."""
    for name in ("matplotlib.backends.backend_agg", "matplotlib.figure", "mpl_toolkits.mplot3d"):
        importlib.import_module(name)


def prepare(source: str, dataset: str, out: str) -> Job:
    """Replace a dataset by one with another seed."""
    import_to_draw()
    from gavamoe.data.dataset import ReviewDataset
    from gavamoe.data.prepare import PrepareOptions
    from gavamoe.data.prepare import prepare as prepare_reviews

    def check() -> None:
        found = ReviewDataset.load(Path(out))
        assert len(found.catalog.users)
        assert len(found.interactions()) == len(found)
        assert found.card["splits"]["seed"] in (0, 1)

    options = PrepareOptions(seed=1)
    return Job(
        Path(out), lambda resume: prepare_reviews([source], Path(out), options), sha256, Path(dataset), check=check
    )


def _digest_of_run(path: Path) -> object:
    if path.name == "manifest.json":  # has the checksum of training.json, which has durations
        return sorted(json.loads(path.read_text())["files"])
    return of_json(path) if path.name == "training.json" else sha256(path)


def train(
    data: str, out: str, config: dict[str, Any], stage: Any, before: str | None = None, update: str | None = None
) -> Job:
    """Train a run, or the stage that the run `before` lacks, or update a run."""
    from gavamoe.config import parse_config
    from gavamoe.pipeline.train import train_run

    run = Path(out)

    def work(resume: bool) -> None:
        source = None if update is None else Path(update)
        train_run(Path(data), run, parse_config(config), "tiny", stage=stage, resume=resume, update=source)

    return Job(run, work, _digest_of_run, None if before is None else Path(before), run.exists)


def compare(data: str, out: str, config: dict[str, Any]) -> Job:
    """Compare two simple systems."""
    import_to_draw()
    from gavamoe.experiments.compare import run
    from gavamoe.experiments.config import CompareConfig

    def work(resume: bool) -> None:
        run(Path(data), Path(out), CompareConfig(**config), "valid", resume=resume)

    def digest(path: Path) -> object:
        return path.read_bytes() if path.name == "predictions.jsonl" else of_json(path)

    return Job(Path(out), work, digest, begun=(Path(out) / "compare.yaml").exists)


def tune(data: str, out: str, config: dict[str, Any], trials: int) -> Job:
    """Search settings of stage 1."""
    import optuna  # noqa: F401

    import_to_draw()
    from gavamoe.config import parse_config
    from gavamoe.experiments.tune import TuneRequest
    from gavamoe.experiments.tune import tune as search

    request = TuneRequest(parse_config(config), "tiny", stage="preference", trials=trials)

    def digest(path: Path) -> object:
        if path.suffix == ".yaml":
            return path.read_bytes()
        if path.suffix != ".csv":
            return None
        with path.open() as file:
            return [[row["state"], row["loss"]] for row in csv.DictReader(file)]

    return Job(
        Path(out),
        lambda resume: search(Path(data), Path(out), request, resume),
        digest,
        begun=(Path(out) / "tune.yaml").exists,
    )


def explain(run: str, pairs: str, out: str) -> Job:
    """Explain a file of pairs in several windows."""
    from gavamoe.conditions import Condition
    from gavamoe.explainer.explainer import Explainer
    from gavamoe.pipeline.explain_file import explain_file

    texts, unfinished = Path(out) / "texts.csv", Path(out) / ".texts.csv.parts" / "plan.json"

    def work(resume: bool) -> None:
        explainer = Explainer.from_pretrained(Path(run))
        decoding = explainer.decoding.with_options(candidates=1)
        Path(out).mkdir(exist_ok=True)
        explain_file(explainer, Path(pairs), texts, Condition(), resume, window=4, decoding=decoding)

    return Job(Path(out), work, sha256, begun=unfinished.exists)


def evaluate(evaluated: str, out: str) -> Job:
    """Evaluate a run that has an earlier evaluation, of other rows."""
    from gavamoe.conditions import Condition
    from gavamoe.pipeline.evaluate import evaluate_run
    from gavamoe.run import RunDirectory

    run = Path(out)

    def check() -> None:
        for directory in (run, *(run / "evaluations").iterdir()):
            if (directory / "metrics.json").is_file():
                metrics = json.loads((directory / "metrics.json").read_text())
                assert metrics["n"] == len((directory / "predictions.jsonl").read_text().splitlines())

    def digest(path: Path) -> object:
        return path.read_bytes() if path.name == "predictions.jsonl" else of_json(path)

    return Job(
        run,
        lambda resume: evaluate_run(RunDirectory(run), None, "test", Condition(), limit=7),
        digest,
        Path(evaluated),
        check=check,
    )


def diagnose(run: str, out: str) -> Job:
    """Diagnose a run."""
    from gavamoe.pipeline.diagnose import diagnose_run

    def work(resume: bool) -> None:
        Path(out).mkdir(exist_ok=True)
        diagnose_run(Path(run), Path(out))

    return Job(Path(out), work, sha256)


JOBS: dict[str, Callable[..., Job]] = {
    job.__name__: job for job in (prepare, train, compare, tune, explain, evaluate, diagnose)
}


def main() -> None:
    """Kill the job that the command line names."""
    name, step, arguments = sys.argv[1:]
    job = JOBS[name](**json.loads(arguments))
    job.out.parent.mkdir(parents=True, exist_ok=True)
    ends = kill_everywhere(job, int(step))
    print(json.dumps([ends, sorted(path.name for path in job.out.parent.iterdir() if path != job.out)]))


if __name__ == "__main__":
    main()
