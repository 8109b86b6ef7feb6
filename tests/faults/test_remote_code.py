"""Code that lies in a run, a base model or a similarity model never runs unless `train --trust-remote-code` says so."""

from __future__ import annotations

import ast
import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from helpers.checkpoints import save_base
from helpers.runs import unsealed_copy

from gavamoe.config import ExplainerConfig
from gavamoe.errors import ConfigError, InputError, RunError
from gavamoe.evaluation.metrics.similarity import SimilarityModel
from gavamoe.explainer import build
from gavamoe.explainer.explainer import Explainer
from gavamoe.language.base_model import load_tokenizer

CODE = """
from pathlib import Path
Path({proof!r}).write_text("the code has run")
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
class PlantedConfig(LlamaConfig):
    model_type = "planted"
class PlantedModel(LlamaForCausalLM):
    config_class = PlantedConfig
class PlantedTokenizer(PreTrainedTokenizerFast):
    pass
"""
AUTO_MAP = {
    "AutoConfig": "planted.PlantedConfig",
    "AutoModel": "planted.PlantedModel",
    "AutoModelForCausalLM": "planted.PlantedModel",
    "AutoTokenizer": ["planted.PlantedTokenizer", "planted.PlantedTokenizer"],
}


@pytest.fixture(autouse=True)
def yes(monkeypatch, tmp_path):
    """Answer every question on stdin with yes, and keep the code that transformers copies out of the home."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 100))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("builtins.input", lambda *prompt: "y")


def _plant(directory: Path, proof: Path, *names: str) -> None:
    (directory / "planted.py").write_text(CODE.format(proof=str(proof)))
    for name in names:
        path = directory / name
        content = json.loads(path.read_text())
        content["auto_map"] = AUTO_MAP
        content |= {"model_type": "planted"} if name == "config.json" else {"tokenizer_class": "PlantedTokenizer"}
        path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "names", [["config.json"], ["tokenizer_config.json"], ["config.json", "tokenizer_config.json"]]
)
def test_code_in_a_run_does_not_run(names, run_path, tmp_path, capsys):
    run, proof = unsealed_copy(run_path, tmp_path / "run"), tmp_path / "proof"
    _plant(run / "explainer", proof, *names)
    try:
        Explainer.from_pretrained(run)
    except RunError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is safe
    assert not proof.exists()
    assert capsys.readouterr().out == ""


def test_code_in_a_sealed_run_is_named(run_path, tmp_path):
    run = shutil.copytree(run_path, tmp_path / "run")
    (run / "explainer" / "planted.py").write_text("")
    with pytest.raises(RunError, match=r"planted\.py does not belong"):
        Explainer.from_pretrained(run)


def test_code_of_a_base_model_runs_only_with_the_flag(tmp_path, capsys):
    base, proof = Path(save_base(tmp_path / "base")), tmp_path / "proof"
    _plant(base, proof, "config.json", "tokenizer_config.json")
    for load in (lambda: build.load_skeleton(str(base)), lambda: load_tokenizer(str(base))):
        with pytest.raises(ConfigError, match="--trust-remote-code") as raised:
            load()
        assert "\n" not in str(raised.value)
    assert not proof.exists()
    assert capsys.readouterr().out == ""
    build.check_base(str(base), ExplainerConfig(), 3, trust_remote_code=True)
    assert proof.exists()


def test_code_of_a_similarity_model_does_not_run(tmp_path):
    base, proof = Path(save_base(tmp_path / "base")), tmp_path / "proof"
    _plant(base, proof, "config.json", "tokenizer_config.json")
    with pytest.raises(InputError):
        SimilarityModel(base)
    assert not proof.exists()


def test_no_loader_of_transformers_is_called_without_saying_whether_code_may_run():
    package = Path(build.__file__).parents[1]
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and re.fullmatch(
                r"Auto\w+\.from_(config|pretrained)", ast.unparse(node.func)
            ):
                named = {keyword.arg for keyword in node.keywords}
                assert named & {"trust_remote_code", None}, f"{path}: {ast.unparse(node)}"
