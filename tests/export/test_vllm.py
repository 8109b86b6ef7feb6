"""vLLM, in an environment of its own, writes the greedy texts that transformers writes from a stock checkpoint."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import torch
from helpers.exports import BESIDE, REPLACED, VLLM_SIZES, model_around
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, Qwen2Config, Qwen3Config

from gavamoe.export.architectures import choose_layout, stock_config
from gavamoe.export.checkpoint import build_stock
from gavamoe.export.weights import cluster_state

# vLLM admits other versions of transformers than gavamoe, so `make vllm` installs an environment for it.
INSTALLED = Path(__file__).parents[2] / ".venv-vllm"
PYTHON = os.environ.get("VLLM_PYTHON") or str(INSTALLED / "bin/python")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        "VLLM_PYTHON" not in os.environ and not (INSTALLED / ".installed").exists(),
        reason="vLLM is not installed: make vllm, or set VLLM_PYTHON",
    ),
]
TOKENS = 12  # length of a text

VLLM = """
import json, sys
import torch
from vllm import LLM, SamplingParams

job = json.load(open(sys.argv[1]))
engine = LLM(job["model"], dtype="float32", enforce_eager=True, max_model_len=256, enable_prompt_embeds=True)
prompts = [{"prompt_embeds": torch.load(each)} if each.endswith(".pt") else each for each in job["prompts"]]
banned = {token: -100.0 for token in job["suppressed"]}
params = SamplingParams(temperature=0, max_tokens=job["tokens"], logit_bias=banned)
found = engine.generate(prompts, params)
json.dump([list(each.outputs[0].token_ids) for each in found], open(sys.argv[2], "w"))
"""


# The card's code for vLLM, with a small engine that compiles nothing.
CARD = """
import sys
import torch

path, inputs = sys.argv[1], torch.load(sys.argv[2])[None]
{code}
"""


def run_vllm(code: str, *arguments: str | Path) -> str:
    """Run code where vLLM is; return what it prints."""
    settings = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | settings
    command = [PYTHON, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def vllm_tokens(model: Path, prompts: list[str], suppressed: list[int], folder: Path) -> list[list[int]]:
    """Return the tokens that vLLM writes for prompts: texts, or files of prompt embeddings."""
    job = {"model": str(model), "prompts": prompts, "suppressed": suppressed, "tokens": TOKENS}
    (folder / "job.json").write_text(json.dumps(job))
    run_vllm(VLLM, folder / "job.json", folder / "tokens.json")
    return json.loads((folder / "tokens.json").read_text())


def greedy_tokens(model, suppressed: list[int], **prompt: torch.Tensor) -> list[int]:
    """Return the tokens that transformers writes for one prompt."""
    plain = {"do_sample": False, "no_repeat_ngram_size": None, "exponential_decay_length_penalty": None}
    length = prompt["input_ids"].shape[1] if "input_ids" in prompt else 0
    written = model.generate(**prompt, **plain, suppress_tokens=suppressed or None, max_new_tokens=TOKENS)
    return written[0, length:].tolist()


def test_vllm_writes_from_rows_of_the_vocabulary_and_from_prompt_embeddings(exported, tmp_path, monkeypatch):
    run = exported["base"]
    monkeypatch.chdir(run.directory)
    model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")
    suppressed = json.loads(Path("generation_config.json").read_text())["suppress_tokens"]
    texts = [json.loads(line)["prompt"] for line in Path("prompts.jsonl").read_text().splitlines()]
    expected = [
        greedy_tokens(model, suppressed, **tokenizer(text, add_special_tokens=False, return_tensors="pt"))
        for text in texts
    ]
    example = re.search("```python\n(.*?)^print", Path("README.md").read_text(), re.S | re.M)
    names: dict = {}
    exec(example.group(1), names)
    torch.save(names["inputs"][0].clone(), tmp_path / "embeddings.pt")
    expected.append(greedy_tokens(model, suppressed, inputs_embeds=names["inputs"]))
    prompts = [*texts, str(tmp_path / "embeddings.pt")]
    assert vllm_tokens(run.directory, prompts, suppressed, tmp_path) == expected
    assert len({tuple(each) for each in expected}) > 1
    card = re.search("```text\n(from vllm.*?)```", Path("README.md").read_text(), re.S).group(1)
    small = card.replace(
        "enable_prompt_embeds=True", "enable_prompt_embeds=True, enforce_eager=True, max_model_len=256"
    )
    assert small != card
    assert run_vllm(CARD.format(code=small), run.directory, tmp_path / "embeddings.pt").strip()


@pytest.mark.parametrize(
    ("family", "settings", "expected"),
    [(LlamaConfig, REPLACED, "Mixtral"), (Qwen2Config, BESIDE, "Qwen2Moe"), (Qwen3Config, REPLACED, "Qwen3Moe")],
)
def test_vllm_reads_the_other_architectures(family, settings, expected, tmp_path):
    model, tokenizer = model_around(tmp_path / "base", family, VLLM_SIZES, **settings)
    layout = choose_layout(model.config)
    config = stock_config(model.config, layout, tokenizer, model.config.vocabulary, tied=False)
    stock = build_stock(config, cluster_state(model, 1, layout, False), model.dtype)
    assert type(stock).__name__.startswith(expected)
    for each in (stock, tokenizer):
        each.save_pretrained(tmp_path / "stock")
    texts = ["a fine film", "a dull plot with a hole"]
    prompts = [tokenizer(text, add_special_tokens=False, return_tensors="pt") for text in texts]
    greedy = [greedy_tokens(stock, [], input_ids=prompt.input_ids) for prompt in prompts]
    assert vllm_tokens(tmp_path / "stock", texts, [], tmp_path) == greedy
