"""`gavamoe export` writes a run, or one cluster of it, and says what it wrote."""

import json

import polars as pl
import torch
from helpers.runs import unsealed_copy
from helpers.weights import assert_same_weights
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from gavamoe import Explainer
from gavamoe.explainer.lora import load_model


def test_a_cluster_is_exported_with_the_prompts_of_a_file(gavamoe, run_path, tmp_path):
    pairs = pl.DataFrame({"user": ["u01", "u02", "nobody"] * 4, "item": [f"i{n:02d}" for n in range(1, 13)]})
    pairs.write_csv(tmp_path / "pairs.csv")
    out = tmp_path / "out"
    code, printed, _ = gavamoe(
        "export", run_path, "--cluster", 1, "--out", out, "--users", tmp_path / "pairs.csv", "--json"
    )
    result = json.loads(printed)
    assert code == 0
    assert (
        result["architecture"]
        == type(AutoModelForCausalLM.from_pretrained(out)).__name__
        == "GraniteMoeSharedForCausalLM"
    )
    prompts = [json.loads(line) for line in (out / "prompts.jsonl").read_text().splitlines()]
    assert len(prompts) == result["pairs_by_cluster"].get("1", 0)
    assert sum(result["pairs_by_cluster"].values()) == len(pairs)
    for each in prompts:
        user = "<|user|>" if each["user"] == "nobody" else f"<|user:{each['user']}|>"
        assert each["prompt"].startswith(f"{user}<|item:{each['item']}|>")
    index = json.loads((out / "vocabulary.json").read_text())
    assert set(index["users"]) == {"u01", "u02"}
    assert set(index["ratings"]) == {"1", "2", "3", "4", "5"}


def test_users_named_on_the_command_line_have_rows_beside_all_items(gavamoe, run_path, tmp_path):
    out = tmp_path / "out"
    code, printed, _ = gavamoe("export", run_path, "--cluster", 0, "--out", out, "--users", "u01, u03")
    assert code == 0
    assert "GraniteMoeSharedForCausalLM of cluster 0" in printed
    index = json.loads((out / "vocabulary.json").read_text())
    catalog = Explainer.from_pretrained(run_path).catalog
    assert list(index["users"]) == ["u01", "u03"]
    assert list(index["items"]) == catalog.item_names[1:]
    assert not (out / "prompts.jsonl").exists()


def test_an_export_keeps_bf16_where_writing_uses_float32(gavamoe, run_path, tmp_path, monkeypatch):
    run = unsealed_copy(run_path, tmp_path / "run")
    model = load_model(run / "explainer").to(torch.bfloat16)
    model.save_pretrained(run / "explainer")
    monkeypatch.setattr("gavamoe.explainer.modeling.cpu_prefers_bf16", lambda width: False)
    assert Explainer.from_pretrained(run, "cpu").model.dtype == torch.float32
    for name, options in {"whole": [], "cluster": ["--cluster", 0]}.items():
        assert gavamoe("export", run, "--out", tmp_path / name, *options)[0] == 0
    for directory in (tmp_path / "whole" / "explainer", tmp_path / "cluster"):
        weights = load_file(next(directory.glob("*.safetensors")))
        assert torch.bfloat16 in {weight.dtype for weight in weights.values()}, directory
    assert_same_weights(model.state_dict(), load_model(tmp_path / "whole" / "explainer").state_dict())


def test_a_whole_run_is_exported_in_its_own_format(gavamoe, run_path, explainer, tmp_path):
    code, printed, _ = gavamoe("export", run_path, "--out", tmp_path / "out", "--json")
    assert (code, json.loads(printed)["format"]) == (0, "gavamoe")
    pairs = [("u01", "i01")]
    assert Explainer.from_pretrained(tmp_path / "out").explain_batch(pairs) == explainer.explain_batch(pairs)


def test_wrong_usage_is_one_line_and_writes_nothing(gavamoe, run_path, tmp_path):
    out = tmp_path / "out"
    cases = [
        (("--users", "u01"), "add --cluster"),
        (("--gguf",), "add --cluster"),
        (("--cluster", 7), "the run has the clusters 0 to 2"),
        (("--cluster", 0, "--users", "nobody"), "the run has no user nobody"),
    ]
    for options, line in cases:
        code, printed, error = gavamoe("export", run_path, "--out", out, *options)
        assert (code, printed) == (2, "")
        assert line in error
        assert len(error.strip().splitlines()) == 1
    assert not out.exists()
