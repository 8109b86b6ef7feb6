"""An evaluation that is killed leaves no metrics, predictions and report of different evaluations side by side."""

import json
import shutil

import pytest

from gavamoe.conditions import Condition
from gavamoe.pipeline import evaluate
from gavamoe.pipeline.evaluate import evaluate_run
from gavamoe.run import RunDirectory

FILES = ("metrics.json", "predictions.jsonl", "report.html")


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def evaluated(run_path, tmp_path):
    run = RunDirectory(shutil.copytree(run_path, tmp_path / "run"))
    evaluate_run(run, None, "test", Condition(), limit=5)
    run.report.write_text("the report of five rows")
    return run


@pytest.mark.parametrize("event", range(4))
def test_files_of_a_run_are_of_one_evaluation_wherever_the_next_one_is_killed(evaluated, monkeypatch, event):
    events = []

    def killed_at(write):
        def write_or_die(path, content):
            if len(events) == event:
                raise KilledError
            events.append(path)
            write(path, content)

        return write_or_die

    for name in ("write_json", "write_json_lines"):
        monkeypatch.setattr(evaluate, name, killed_at(getattr(evaluate, name)))
    with pytest.raises(KilledError):
        evaluate_run(evaluated, None, "test", Condition(), limit=7)
    assert len(events) == event
    found = {name for name in FILES if (evaluated.path / name).is_file()}
    if "metrics.json" in found:
        rows = (evaluated.path / "predictions.jsonl").read_text().splitlines()
        assert json.loads((evaluated.path / "metrics.json").read_text())["n"] == len(rows) == 5
        assert "report.html" in found
    else:
        assert "report.html" not in found
    for kept in evaluated.evaluations.iterdir():
        rows = (kept / "predictions.jsonl").read_text().splitlines()
        assert json.loads((kept / "metrics.json").read_text())["n"] == len(rows)
