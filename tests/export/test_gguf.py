"""The GGUF of a stock checkpoint: llama.cpp writes the texts that transformers writes."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.checkpoints import save_base
from transformers import AutoTokenizer, Qwen2Config, Qwen3Config

from gavamoe.errors import ConfigError
from gavamoe.explainer.configuration import GavamoeConfig
from gavamoe.explainer.explainer import Explainer
from gavamoe.export.architectures import choose_layout
from gavamoe.export.checkpoint import AddedRows, export_cluster
from gavamoe.export.gguf_file import check_gguf, rotary_pairs

pytest.importorskip("gguf", reason="the package gguf is not installed: pip install 'gavamoe[gguf]'")

# Another process, because an engine that fails may end its process.
LLAMA_CPP = """
import json, sys
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.warmup = sys.argv[1], 512, 1, False
params.cpuparams.n_threads = 1
server, texts = xllamacpp.Server(params), []
job = json.load(open(sys.argv[2]))
for prompt in job["prompts"]:
    request = {"prompt": prompt, "temperature": 0, "n_predict": job["tokens"]}
    answer = server.handle_completions({**request, "logit_bias": [[token, False] for token in job["suppressed"]]})
    texts.append([answer["choices"][0]["text"], answer["usage"]["prompt_tokens"]])
json.dump(texts, open(sys.argv[3], "w"))
"""


@pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None, reason="llama.cpp is not installed: pip install xllamacpp"
)
@pytest.mark.parametrize(("name", "expected"), [("routed", "llama"), ("scratch", "granitemoe"), ("base", "granitemoe")])
def test_llama_cpp_writes_the_explainers_greedy_texts(name, expected, exported, exported_run_paths, tmp_path):
    from gguf import GGUFReader

    run = exported[name]
    fresh = Explainer.from_pretrained(exported_run_paths[name], "cpu")
    export_cluster(fresh, run.cluster, tmp_path / "out", AddedRows(pairs=run.pairs), gguf=True)
    reader = GGUFReader(tmp_path / "out" / "model.gguf")
    assert reader.fields["general.architecture"].contents() == expected
    rows = [json.loads(line) for line in (tmp_path / "out" / "prompts.jsonl").read_text().splitlines()]
    tokens = run.explainer.decoding.max_new_tokens
    job = {"prompts": [row["prompt"] for row in rows], "suppressed": run.suppressed, "tokens": tokens}
    (tmp_path / "job.json").write_text(json.dumps(job))
    files = [str(tmp_path / each) for each in ("out/model.gguf", "job.json", "texts.json")]
    subprocess.run([sys.executable, "-c", LLAMA_CPP, *files], check=True, capture_output=True, timeout=120)
    found = json.loads((tmp_path / "texts.json").read_text())
    assert [count for _, count in found] == [len(row["prompt_token_ids"]) for row in rows]
    # llama.cpp knows no penalty that grows, which brings a long text to its end; so the texts agree up to there.
    start, _ = run.explainer.decoding.exponential_decay_length_penalty
    encode = AutoTokenizer.from_pretrained(exported_run_paths["scratch"] / "explainer").encode
    lengths = []
    for (text, _), greedy in zip(found, run.greedy(), strict=True):
        both = [encode(" ".join(each.split()))[:start] for each in (text, greedy)]
        shorter = min(map(len, both))
        lengths.append(shorter)
        assert both[0][: shorter - 1] == both[1][: shorter - 1]
    assert max(lengths) > 3, "the texts are too short to differ"


def test_rows_of_a_rotary_pair_become_neighbours():
    weight = torch.arange(16.0)[:, None].expand(16, 3)  # two heads of 8 rows; row j is rotated with row j + 4
    rows = rotary_pairs(weight, heads=2)[:, 0]
    np.testing.assert_array_equal(rows.view(2, 4, 2), [[[j, j + 4] for j in range(8 * h, 8 * h + 4)] for h in (0, 1)])


@pytest.mark.parametrize(
    ("family", "sizes", "settings", "reason"),
    [
        (Qwen2Config, {}, {}, "weights the experts of a Qwen2Moe otherwise"),
        (Qwen3Config, {}, {"moe_layers": [0]}, "some layers have no experts"),
        (
            Qwen3Config,
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
            {},
            "type linear",
        ),
    ],
)
def test_what_llama_cpp_computes_otherwise_is_refused(family, sizes, settings, reason, tmp_path):
    text = family(hidden_act="silu", num_hidden_layers=2, **sizes)
    layout = choose_layout(GavamoeConfig(text, initialisation="partition", **settings))
    tokenizer = AutoTokenizer.from_pretrained(save_base(tmp_path))
    with pytest.raises(ConfigError, match=f"--gguf.*{reason}.*leave --gguf out"):
        check_gguf(layout, text, tokenizer)


def test_a_tokenizer_that_llama_cpp_would_split_otherwise_is_refused(tmp_path):
    from tokenizers import pre_tokenizers

    tokenizer = AutoTokenizer.from_pretrained(save_base(tmp_path))
    text = Qwen3Config(num_hidden_layers=2)
    layout = choose_layout(GavamoeConfig(text, initialisation="partition"))
    check_gguf(layout, text, tokenizer)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ConfigError, match="the tokenizer is none of the byte-level ones"):
        check_gguf(layout, text, tokenizer)


def test_a_gguf_of_a_bf16_model_keeps_vectors_and_routers_in_float32(exported, base_run_path, tmp_path):
    from gguf import GGUFReader

    explainer = Explainer.from_pretrained(base_run_path, "cpu")
    explainer.model.to(torch.bfloat16)
    export_cluster(explainer, exported["base"].cluster, tmp_path / "out", gguf=True)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(tmp_path / "out" / "model.gguf").tensors}
    in_full = {name for name, kind in kinds.items() if kind == "F32"}
    assert in_full == {name for name in kinds if "norm" in name or "ffn_gate_inp" in name}
    assert {kind for name, kind in kinds.items() if name not in in_full} == {"BF16"}
