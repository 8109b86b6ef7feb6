"""One cluster as a stock checkpoint: the same logits and texts where gavamoe cannot be imported."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from helpers.exports import BESIDE, REPLACED, model_around
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from gavamoe.errors import ConfigError, DataError, RunError
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.gate_assignment import GateAssignment
from gavamoe.export.architectures import choose_layout, stock_config
from gavamoe.export.checkpoint import AddedRows, build_stock, check_same_logits, export_cluster
from gavamoe.export.weights import cluster_state

RUNS = pytest.mark.parametrize("name", ["scratch", "routed", "base"])
CLUSTERS = 3
CASES = [
    (LlamaConfig, {}, REPLACED, "MixtralForCausalLM"),
    (LlamaConfig, {"tie_word_embeddings": True, "head_dim": 4}, {"initialisation": "random"}, "MixtralForCausalLM"),
    (
        LlamaConfig,
        {"rope_parameters": {"rope_theta": 500.0, "rope_type": "linear", "factor": 2.0}},
        REPLACED,
        "Mixtral",
    ),
    (MistralConfig, {"sliding_window": 4}, {"initialisation": "replicate", "granularity": 2}, "MixtralForCausalLM"),
    (LlamaConfig, {}, BESIDE, "GraniteMoeSharedForCausalLM"),
    (LlamaConfig, {"tie_word_embeddings": True}, BESIDE | {"moe_layers": [1]}, "GraniteMoeSharedForCausalLM"),
    (LlamaConfig, {}, REPLACED | {"moe_layers": [0]}, "GraniteMoeSharedForCausalLM"),
    (LlamaConfig, {"attention_bias": True}, REPLACED, "GraniteMoeSharedForCausalLM"),
    (Qwen2Config, {}, REPLACED, "Qwen2MoeForCausalLM"),
    (Qwen2Config, {"tie_word_embeddings": True}, BESIDE | {"moe_layers": [1]}, "Qwen2MoeForCausalLM"),
    (Qwen3Config, {"head_dim": 16}, REPLACED, "Qwen3MoeForCausalLM"),
    (Qwen3Config, {}, {"initialisation": "random", "moe_layers": [1]}, "Qwen3MoeForCausalLM"),
]


@pytest.mark.parametrize(("family", "sizes", "settings", "expected"), CASES, ids=lambda each: str(each)[:40])
def test_the_stock_class_gives_the_logits_of_each_cluster(family, sizes, settings, expected, tmp_path):
    model, tokenizer = model_around(tmp_path / "base", family, sizes, **settings)
    layout, tied = choose_layout(model.config), bool(sizes.get("tie_word_embeddings"))
    ids = torch.randint(20, 60, (2, 9))
    found = []
    for cluster in range(CLUSTERS):
        config = stock_config(model.config, layout, tokenizer, model.config.vocabulary, tied)
        build_stock(config, cluster_state(model, cluster, layout, tied), model.dtype).save_pretrained(
            tmp_path / "stock"
        )
        stock = AutoModelForCausalLM.from_pretrained(tmp_path / "stock").eval()
        assert type(stock).__name__.startswith(expected)
        with torch.no_grad():
            logits = model(ids, cluster_ids=torch.tensor([cluster] * 2)).logits
            torch.testing.assert_close(stock(ids).logits, logits, rtol=1e-4, atol=1e-4)
        found.append(logits)
    assert not torch.allclose(found[0], found[1], atol=1e-2), "the clusters must differ for this test to say something"


@pytest.mark.parametrize(
    ("family", "sizes", "settings", "reason"),
    [
        (GemmaConfig, {}, BESIDE, "a gemma base"),
        (SmolLM3Config, {}, REPLACED, "a smollm3 base"),
        (LlamaConfig, {"hidden_act": "gelu"}, REPLACED, "the activation gelu"),
        (LlamaConfig, {"mlp_bias": True}, BESIDE, "an FFN with biases"),
        (LlamaConfig, {"head_dim": 4}, BESIDE, "heads of 4 dimensions"),
        (MistralConfig, {"sliding_window": 4}, BESIDE, "sliding-window attention"),
        (Qwen3Config, {}, BESIDE, "a Qwen3 base with an FFN"),
    ],
)
def test_what_no_stock_architecture_has_is_refused_in_one_line(family, sizes, settings, reason, tmp_path):
    model, _ = model_around(tmp_path / "base", family, sizes, **settings)
    with pytest.raises(ConfigError, match=f"no architecture of transformers represents {reason}") as refused:
        choose_layout(model.config)
    assert "\n" not in str(refused.value)


def test_a_stock_model_that_computes_something_else_is_noticed(tmp_path):
    model, tokenizer = model_around(tmp_path / "base", LlamaConfig, {}, **REPLACED)
    layout = choose_layout(model.config)
    config = stock_config(model.config, layout, tokenizer, model.config.vocabulary, False)
    stock = build_stock(config, cluster_state(model, 0, layout, False), model.dtype)
    assert check_same_logits(model, stock, 0) < 1e-4
    with pytest.raises(ConfigError, match="gives other logits than this run"):
        check_same_logits(model, stock, 1)


@RUNS
def test_logits_are_the_runs_where_gavamoe_cannot_be_imported(name, exported):
    run = exported[name]
    expected = "MixtralForCausalLM" if name == "routed" else "GraniteMoeSharedForCausalLM"
    assert run.outside["class"] == expected
    ids = torch.tensor(run.ids)
    ids[torch.isin(ids, torch.tensor(run.explainer.model.config.fact_token_ids, dtype=torch.long))] = 20
    assert ids.tolist() == run.ids, "fields are marked in the run's prompts only"
    with torch.no_grad():
        logits = run.explainer.model(ids, cluster_ids=torch.tensor([run.cluster] * 2)).logits
    found = torch.tensor(run.outside["logits"])[..., : logits.shape[-1]]
    torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-4)


@RUNS
def test_the_cards_example_writes_the_explainers_greedy_texts(name, exported):
    run = exported[name]
    texts = [" ".join(text.split()) for text in run.outside["texts"]]
    assert texts == run.greedy()
    assert len(set(texts)) > 1


@RUNS
def test_prompts_of_vocabulary_rows_write_the_explainers_greedy_texts(name, exported):
    run = exported[name]
    rows = run.outside["rows"]
    assert [(row["user"], row["item"]) for row in rows] == run.pairs.rows()
    assert [row["encoded"] for row in rows] == [row["prompt_token_ids"] for row in rows]
    assert [" ".join(row["text"].split()) for row in rows] == run.greedy()


@RUNS
def test_new_tokens_are_never_likelier_than_the_token_that_no_text_has(name, exported):
    run = exported[name]
    config = run.explainer.model.config
    logits = torch.tensor(run.outside["logits"])
    new = logits[..., len(run.explainer.tokenizer) :]
    torch.testing.assert_close(new, logits[..., config.user_token_id, None].expand_as(new))
    generation = json.loads((run.directory / "generation_config.json").read_text())
    assert len(generation["suppress_tokens"]) == run.result["rows_added"]
    assert generation["eos_token_id"] == run.explainer.tokenizer.eos_token_id


def test_what_is_exported_is_listed_and_can_be_replaced_but_nothing_else(exported, run_path, tmp_path):
    run = exported["scratch"]
    assert {path.relative_to(run.directory).as_posix() for path in run.directory.rglob("*") if path.is_file()} == {
        *run.result["files"],
        "manifest.json",
    }
    assert str(run.directory.parent) not in (run.directory / "config.json").read_text()
    explainer = Explainer.from_pretrained(run_path, "cpu")
    first = export_cluster(explainer, 0, tmp_path / "out")
    assert "vocabulary.json" not in first["files"]
    export_cluster(explainer, 1, tmp_path / "out")
    assert "cluster 1" in (tmp_path / "out" / "README.md").read_text()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(RunError, match=r"mine\.txt, which is no part of a checkpoint"):
        export_cluster(explainer, 1, tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"


def test_a_cluster_or_user_that_the_run_lacks_is_refused(explainer, tmp_path):
    with pytest.raises(ConfigError, match="--cluster 3: the run has the clusters 0 to 2"):
        export_cluster(explainer, 3, tmp_path / "out")
    with pytest.raises(DataError, match="the run has no user nobody"):
        export_cluster(explainer, 0, tmp_path / "out", AddedRows(users=["u01", "nobody"]))
    assert not (tmp_path / "out").exists()


def test_a_model_in_bf16_stays_in_bf16(tmp_path):
    model, tokenizer = model_around(tmp_path / "base", LlamaConfig, {}, **BESIDE)
    model.to(torch.bfloat16)
    layout = choose_layout(model.config)
    config = stock_config(model.config, layout, tokenizer, model.config.vocabulary, False)
    stock = build_stock(config, cluster_state(model, 0, layout, False), model.dtype)
    assert {parameter.dtype for parameter in stock.parameters()} == {torch.bfloat16}
    assert check_same_logits(model, stock, 0) < 1
    stock.save_pretrained(tmp_path / "stock")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "stock").dtype == torch.bfloat16
    stock.model.layers[0].shared_mlp.output_linear.weight.data.neg_()
    with pytest.raises(ConfigError, match="gives other logits"):
        check_same_logits(model, stock, 0)


def test_a_run_with_one_gate_is_exported_for_all_pairs_and_random_gates_are_refused(explainer, tmp_path):
    one = copy.copy(explainer)
    one.context = replace(explainer.context, gates=GateAssignment("one", 1))
    with pytest.raises(ConfigError, match="--cluster 2: the run has one gate for all pairs"):
        export_cluster(one, 2, tmp_path / "out")
    export_cluster(one, 0, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "# GaVaMoE: explanations" in card
    assert "Its router is the only gate of the run" in card
    one.context = replace(explainer.context, gates=GateAssignment("random", 3))
    with pytest.raises(ConfigError, match="--cluster: the run has a random gate for each pair"):
        export_cluster(one, 0, tmp_path / "random")
    assert not (tmp_path / "random").exists()
