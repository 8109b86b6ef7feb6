"""`gavamoe compare` as a script calls it, with registered systems and with one of the user's own."""

import json
import sys
from pathlib import Path

import pytest


def test_compare_prints_one_json_object_and_writes_the_tables(gavamoe, dataset_path, tmp_path):
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
def test_bad_input_is_a_one_line_error_and_writes_nothing(gavamoe, dataset_path, tmp_path, arguments, words):
    code, out, err = gavamoe("compare", dataset_path, "--out", tmp_path / "table", *arguments)
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1)
    assert all(word in err for word in words)
    assert not (tmp_path / "table").exists()


EXAMPLE = Path(__file__).parents[2] / "examples" / "own_baseline.py"
FINE = """
from gavamoe.baselines.base import Predictions, RefittedSystem

class Three(RefittedSystem):
    def train(self, data, seed): pass
    def predict(self, pairs, condition): return Predictions([str(seedless)] * len(pairs), None)

class Untrained(RefittedSystem):
    def predict(self, pairs, condition): return Predictions(None, None)

class Sized(Three):
    def __init__(self, size): pass

class Curious(Three):
    inputs = frozenset({"price"})

class Other:
    pass

seedless = "three"
"""


def test_a_system_from_a_file_is_compared_under_its_class_name(gavamoe, dataset_path, tmp_path):
    out, arguments = tmp_path / "table", ("--models", f"item-mode,{EXAMPLE}:PopularSentence", "--seeds", "1")
    code, printed, _ = gavamoe("compare", dataset_path, "--out", out, *arguments, "--json")
    assert code == 0
    (table,) = json.loads(printed)["tables"]
    assert set(table["models"]) == {"item-mode", "PopularSentence"}
    assert table["models"]["PopularSentence"]["metrics"]["BLEU-1"]["mean"] > 0
    assert table["subject"] == "item-mode"
    names = {path.name for path in (out / "systems").iterdir()}
    (own,) = names - {"item-mode"}
    assert own.endswith("own_baseline.py-PopularSentence")
    assert not {"/", ":"} & set(own)
    code, printed, _ = gavamoe("compare", dataset_path, "--out", out, *arguments, "--resume")
    assert code == 0
    assert "PopularSentence" in printed


def test_a_system_from_a_module_of_the_current_directory_is_compared(gavamoe, dataset_path, tmp_path, monkeypatch):
    package = tmp_path / "mypackage"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mymodule.py").write_text(FINE)
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    name = "mypackage.mymodule:Three"
    code, printed, _ = gavamoe(
        "compare", dataset_path, "--out", tmp_path / "t", "--models", name, "--seeds", 1, "--json"
    )
    assert code == 0
    assert set(json.loads(printed)["tables"][0]["models"]) == {"Three"}
    assert (tmp_path / "t" / "systems" / "mypackage.mymodule-Three" / "seed-0" / "training.json").is_file()
    assert sys.path == before


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nowhere.py:Three", ["no file nowhere.py"]),
        ("nowhere.inside:Three", ["nowhere.inside:Three", "No module named 'nowhere'"]),
        ("own.py:Four", ["no class 'Four'", "Three"]),
        ("own.py:seedless", ["no class 'seedless'"]),
        ("own.py:Untrained", ["lacks train"]),
        ("own.py:Other", ["lacks fit, load, predict, inputs"]),
        ("own.py:Sized", ["without arguments", "size"]),
        ("own.py:Curious", ["inputs", "feature, rating"]),
        ("broken.py:Three", ["broken.py:Three", "SyntaxError"]),
        ("own.py:Three,./own.py:Three", ["two models are called Three"]),
    ],
)
def test_a_missing_or_incomplete_own_system_is_a_one_line_error(
    gavamoe, dataset_path, tmp_path, monkeypatch, model, words
):
    (tmp_path / "own.py").write_text(FINE)
    (tmp_path / "broken.py").write_text("class Three(:\n")
    monkeypatch.chdir(tmp_path)
    code, out, err = gavamoe("compare", dataset_path, "--out", tmp_path / "table", "--models", model)
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1)
    assert all(word in err for word in words)
    assert not (tmp_path / "table").exists()
