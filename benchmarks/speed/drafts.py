"""Pairs per second of a trained run with several drafts each, with and without removing finished drafts from the batch.

    python benchmarks/speed/drafts.py RUN

It needs a trained run: the gain depends on how long its texts are.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from timing import seconds
from transformers.utils import logging as transformers_logging

from gavamoe.explainer import generate
from gavamoe.explainer.explainer import Explainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--pairs", type=int, default=160)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers_logging.set_verbosity_error()
    explainer = Explainer.from_pretrained(options.run)
    rng = np.random.default_rng(0)
    names = explainer.catalog.user_names[1:], explainer.catalog.items["item"].to_list()
    pairs = list(zip(*(rng.choice(names_of_side, options.pairs) for names_of_side in names), strict=True))

    def decode_in_chunks(tokens: int) -> Callable[[], list[str]]:
        def write() -> list[str]:
            generate.CHUNK_TOKENS = tokens
            return [explanation.text for explanation in explainer.explain_batch(pairs)]

        return write

    ways = {
        "in chunks": decode_in_chunks(generate.CHUNK_TOKENS),
        "without chunks": decode_in_chunks(explainer.decoding.max_new_tokens),
    }
    texts = {way: write() for way, write in ways.items()}
    words = np.mean([len(text.split()) for text in texts["without chunks"]])
    print(f"the same texts: {texts['in chunks'] == texts['without chunks']}; words: {words:.1f}")
    taken = seconds(ways, options.rounds)
    for way, spent in taken.items():
        print(f"{way}: {options.pairs / spent:.1f} pairs per second")
    print(f"ratio: {taken['without chunks'] / taken['in chunks']:.2f}")


if __name__ == "__main__":
    main()
