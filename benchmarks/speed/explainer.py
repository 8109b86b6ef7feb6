"""Measure the speed and memory of stage 2, each figure beside its reference, in one run.

    python benchmarks/speed/explainer.py [--threads 1] [--rounds 5] [--only block training ...] [--json]

block       the multi-gate block against a dense gated FFN with the same active parameters: forward, training and
            decoding; decoding against the larger of that FFN's time and of reading the selected experts' weights once
training    tokens per second against the published method
generation  30 tokens for 1,000 pairs in batches against one pair at a time (20 pairs)
memory      of each initialisation at the shape of Llama-3.1-8B, computed; on a GPU also measured on 4 of its 32 layers

On a GPU the block is measured in bf16 at the shape of Llama-3.1-8B. On a CPU times are processor time of all threads.
With one thread that equals the time on a quiet machine; with more threads ratios compare work, not waiting.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import block
import language_model
import memory
import torch
from rich.console import Console
from rich.table import Table
from timing import CUDA
from transformers.utils import logging as transformers_logging

PARTS: dict[str, Callable[[int], Any]] = {
    "block": lambda rounds: block.measure(rounds, on_gpu=CUDA),
    "training": language_model.training,
    "generation": language_model.generation,
    "memory": lambda rounds: memory.measure(),
}


def table(rows: list[dict[str, Any]]) -> Table:
    """Return a table with one column per key; rows may lack keys."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    printed = Table(*columns)
    for row in rows:
        printed.add_row(*(_cell(row.get(key, "")) for key in columns))
    return printed


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(part)}" for name, part in value.items())
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5, help="turns per variant; the median is reported")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers_logging.set_verbosity_error()
    device = torch.cuda.get_device_name() if CUDA else f"CPU, {options.threads} threads"
    result: dict[str, Any] = {"device": device, "torch": torch.__version__}
    for part in options.only:
        result[part] = PARTS[part](options.rounds)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{device}, torch {torch.__version__}")
    console = Console(width=180)
    for part in options.only:
        rows = result[part] if isinstance(result[part], list) else [result[part]]
        console.print(part, table(rows))


if __name__ == "__main__":
    main()
