"""Trained runs from scratch and one around a base, exported, and used by a process that cannot import gavamoe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from helpers.checkpoints import save_base
from helpers.exports import VLLM_SIZES

from gavamoe.conditions import Condition
from gavamoe.explainer.explainer import Explainer
from gavamoe.export.checkpoint import AddedRows, export_cluster
from gavamoe.export.vocabulary import prompt_text
from gavamoe.language.encoding import PromptEncoder

# Runs without gavamoe: prints the logits of token ids, the texts of the README's example for several pairs, and the
# texts of prompts.jsonl, all greedy.
OUTSIDE = """
import contextlib, io, json, os, re, sys
sys.modules["gavamoe"] = None  # an import of gavamoe is an ImportError
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

result = {}
for name, job in json.load(open(sys.argv[1])).items():
    os.chdir(job["directory"])
    model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")
    with torch.no_grad():
        logits = model(torch.tensor(job["ids"])).logits.tolist()
    snippet = re.search("```python\\n(.*?)```", open("README.md", encoding="utf-8").read(), re.S).group(1)
    options = {"do_sample": False, "no_repeat_ngram_size": None, "suppress_tokens": job["suppressed"]}
    snippet = snippet.replace("model.generate(", "model.generate(**OPTIONS, ")
    texts = []
    for user, item, prompt in job["pairs"]:
        code = re.sub(r'(\\["users"\\]\\.get\\().*?(, 0\\))', lambda m: m[1] + repr(user) + m[2], snippet, count=1)
        code = re.sub(r'(\\["items"\\]\\.get\\().*?(, 0\\))', lambda m: m[1] + repr(item) + m[2], code, count=1)
        code = re.sub(r"tokenizer\\(.*, add_special", lambda m: f"tokenizer({prompt!r}, add_special", code, count=1)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, {"OPTIONS": options})
        texts.append(printed.getvalue())
    prompts = [json.loads(line) for line in open("prompts.jsonl", encoding="utf-8")]
    rows = []
    for each in prompts:
        ids = tokenizer(each["prompt"], add_special_tokens=False, return_tensors="pt").input_ids
        out = model.generate(ids, **options)
        text = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        rows.append({**each, "text": text, "encoded": ids[0].tolist()})
    result[name] = {"class": type(model).__name__, "logits": logits, "texts": texts, "rows": rows}
json.dump(result, open(sys.argv[2], "w"))
"""


@dataclass(frozen=True)
class Exported:
    """A run, what was exported of it, and what a process without gavamoe made of that.

    Attributes:
        explainer: the run.
        cluster: the exported cluster.
        directory: the checkpoint.
        pairs: pairs of the cluster, columns user and item.
        ids: token ids, [2, 12].
        suppressed: tokens that are parts of characters, which the explainer never writes alone.
        outside: class, logits, texts and rows, as the other process found them.
        result: what `export_cluster` returned.
    """

    explainer: Explainer
    cluster: int
    directory: Path
    pairs: pl.DataFrame
    ids: list[list[int]]
    suppressed: list[int]
    outside: dict[str, Any]
    result: dict[str, Any]

    def greedy(self) -> list[str]:
        """Return the explainer's greedy texts of the pairs."""
        # transformers takes what a call leaves unset from the model, so the limit on n-grams is removed there.
        self.explainer.model.generation_config.no_repeat_ngram_size = None
        options = {"do_sample": False, "candidates": None, "no_repeat_ngram_size": None}
        written = self.explainer.explain_batch(self.pairs, suppress_tokens=self.suppressed, **options)
        return [each.text for each in written]


def _pairs_of_one_cluster(explainer: Explainer) -> tuple[int, pl.DataFrame]:
    """Return the cluster with most of some pairs, and eight of its pairs."""
    users, items = explainer.catalog.user_names[1:], explainer.catalog.item_names[1:]
    pairs = pl.DataFrame({"user": users[:30] * 2, "item": (items * 4)[:60]})
    gate = explainer.context.build(pairs, Condition())[0].gate
    cluster = int(torch.from_numpy(gate).bincount().argmax())
    return cluster, pairs.filter(pl.Series(gate == cluster)).head(8)


@pytest.fixture(scope="session")
def base_run_path(dataset_path, tiny_config, tmp_path_factory) -> Path:
    """A run around a base whose FFNs stay: LoRA factors are saved as an adapter."""
    from gavamoe.pipeline.train import train_run

    folder = tmp_path_factory.mktemp("around-a-base")
    changes = {"epochs": 1, "max_tokens": 12, "expert_rank": 8, "learning_rate": 1e-2, "save": "adapter"}
    changes |= {"initialisation": "adapter", "shared_experts": 1, "prompt_tokens": 96}
    config = tiny_config.model_copy(update={"explainer": tiny_config.explainer.model_copy(update=changes)})
    train_run(dataset_path, folder / "run", config, base_model=save_base(folder / "base", **VLLM_SIZES))
    return folder / "run"


@pytest.fixture(scope="session")
def routed_run_path(dataset_path, tiny_config, tmp_path_factory) -> Path:
    """A run from scratch whose FFNs are routed experts alone."""
    from gavamoe.pipeline.train import train_run

    run = tmp_path_factory.mktemp("routed") / "run"
    explainer = tiny_config.explainer.model_copy(update={"shared_experts": 0})
    train_run(dataset_path, run, tiny_config.model_copy(update={"explainer": explainer}))
    return run


@pytest.fixture(scope="session")
def exported_run_paths(run_path, routed_run_path, base_run_path) -> dict[str, Path]:
    """The exported runs by name: from scratch, from scratch without shared experts, around a base."""
    return {"scratch": run_path, "routed": routed_run_path, "base": base_run_path}


@pytest.fixture(scope="session")
def exported(exported_run_paths, tmp_path_factory) -> dict[str, Exported]:
    """The runs, exported with rows of the vocabulary, and used in one process without gavamoe."""
    folder = tmp_path_factory.mktemp("exported")
    jobs, made = {}, {}
    for name, run in exported_run_paths.items():
        explainer = Explainer.from_pretrained(run, "cpu")
        cluster, pairs = _pairs_of_one_cluster(explainer)
        encode = PromptEncoder(explainer.tokenizer, explainer.context.template)
        context, _ = explainer.context.build(pairs, Condition())
        prompts = [prompt_text(explainer.tokenizer, encode(context.fields(row))) for row in range(len(pairs))]
        ids = torch.randint(10, 200, (2, 12), generator=torch.Generator().manual_seed(1)).tolist()
        result = export_cluster(Explainer.from_pretrained(run, "cpu"), cluster, folder / name, AddedRows(pairs=pairs))
        named = [[*pair, prompt] for pair, prompt in zip(pairs.iter_rows(), prompts, strict=True)]
        vocabulary = range(len(explainer.tokenizer))
        suppressed = [token for token in vocabulary if not explainer.tokenizer.decode([token]).isascii()]
        jobs[name] = {"directory": str(folder / name), "ids": ids, "pairs": named, "suppressed": suppressed}
        made[name] = (explainer, cluster, folder / name, pairs, ids, suppressed, result)
    (folder / "jobs.json").write_text(json.dumps(jobs))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", OUTSIDE, str(folder / "jobs.json"), str(folder / "result.json")]
    subprocess.run(command, check=True, env=environment | {"OMP_NUM_THREADS": "1"}, cwd=folder, capture_output=True)
    outside = json.loads((folder / "result.json").read_text())
    return {name: Exported(*parts[:-1], outside[name], parts[-1]) for name, parts in made.items()}
