"""Processor seconds in which llama.cpp writes several drafts for each of a few random prompts, loading left out.

    pip install xllamacpp
    python benchmarks/speed/llama_cpp.py MODEL.gguf --pairs 4 --drafts 8 --prompt 105 --text 35

The drafts of a prompt are written at once, each in a slot of its own. `pretrained.py` runs this in another process,
because an engine that fails may end its process.
"""

from __future__ import annotations

import argparse
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import xllamacpp

FIRST_ID, LAST_ID = 5_000, 45_000  # ordinary words in vocabularies of 49,152 and more


def main() -> None:
    """Print the processor seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    for name, default in (("pairs", 4), ("drafts", 8), ("prompt", 105), ("text", 35), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    server, rng = _server(options), random.Random(0)
    prompts = [[rng.randrange(FIRST_ID, LAST_ID) for _ in range(options.prompt)] for _ in range(options.pairs)]
    request: dict[str, Any] = {"n_predict": options.text, "ignore_eos": True, "temperature": 0.5, "top_p": 0.9}
    started, written = time.process_time(), 0
    with ThreadPoolExecutor(options.drafts) as threads:
        for prompt in prompts:
            requests = [{**request, "prompt": prompt, "cache_prompt": True}] * options.drafts
            answers = threads.map(server.handle_completions, requests)
            written += sum(answer["usage"]["completion_tokens"] for answer in answers)
    if written != options.pairs * options.drafts * options.text:
        raise SystemExit(f"{written} tokens were written, not {options.pairs * options.drafts * options.text}")
    print(time.process_time() - started)


def _server(options: argparse.Namespace) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path, params.n_parallel, params.warmup = options.model, options.drafts, False
    params.n_ctx = options.drafts * (options.prompt + options.text + 8)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
