"""`gavamoe compare` as scripts call it."""

import json
import sys

import pytest

from gavamoe.cli import main as cli


@pytest.fixture
def gavamoe(monkeypatch, capsys):
    """Run the command line in this process: (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["gavamoe", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return run


def test_it_prints_one_object_and_writes_the_tables(gavamoe, dataset_path, tmp_path):
    out = tmp_path / "table"
    arguments = ("--models", "item-mode,bias", "--seeds", "2", "--split", "valid")
    code, printed, _ = gavamoe("compare", dataset_path, "--out", out, *arguments, "--json")
    assert code == 0
    (table,) = json.loads(printed)["tables"]
    assert table["conditions"] == {"rating": "predicted", "feature": "predicted", "oracle": False}
    assert set(table["models"]) == {"item-mode", "bias"}
    assert table["models"]["bias"]["metrics"]["RMSE"]["mean"] > 0
    assert {path.suffix for path in out.glob("results.*")} == {".csv", ".md", ".tex", ".html"}
    code, printed, _ = gavamoe("compare", dataset_path, "--out", out, *arguments, "--resume")
    assert code == 0
    assert "item-mode" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--models", "bert"], ["no model 'bert'", "peter"]),
        (["--models", ","], ["models", "once each"]),
        (["--set", "explainer.nothing=1"], ["explainer.nothing"]),
        (["--split", "holiday"], ["holiday"]),
        (["--config", "none.yaml"], ["none.yaml"]),
        (["--resume"], ["no comparison"]),
        (["--preset", "huge"], ["huge", "small"]),
        (["--set", "seed=7"], ["settings", "seeds 0"]),
        (["--set", "explainer.initialisation=partition"], ["--base-model"]),
        (["--base-model", "nowhere/none"], ["nowhere/none"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(gavamoe, dataset_path, tmp_path, arguments, words):
    code, out, err = gavamoe("compare", dataset_path, "--out", tmp_path / "table", *arguments)
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1)
    assert all(word in err for word in words)
    assert not (tmp_path / "table").exists()
