"""Measure what `explain --engine ray` costs beside the local engine, on a cluster of this machine's processors.

    python benchmarks/speed/ray_engine.py RUN --pairs 400 --window 50 --workers 1 2

Explains the same pairs with each engine and prints one JSON object per line: the seconds of the call, those of the
start of Ray, those of a call with one pair per worker (the load of the run), and the texts per second.
With one worker, the difference to the local engine is the overhead of Ray. Both engines use one thread per process.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import polars as pl
import ray
import torch

from gavamoe.conditions import Condition
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.explain_file import explain_file
from gavamoe.pipeline.pair_windows import Engine
from gavamoe.pipeline.ray_engine import ray_engine
from gavamoe.ray_cluster import ENVIRONMENT


def write_pairs(explainer: Explainer, count: int, path: Path) -> None:
    """Write `count` pairs of known users and items."""
    users, items = explainer.catalog.users["user"], explainer.catalog.items["item"]
    rows = range(count)
    pairs = {"user": [users[row % len(users)] for row in rows], "item": [items[7 * row % len(items)] for row in rows]}
    pl.DataFrame(pairs).write_parquet(path)


def measure(explainer: Explainer, pairs: Path, window: int, engine: Engine | None) -> tuple[float, pl.DataFrame]:
    """Explain the pairs; return seconds of the wall clock and the texts."""
    out = pairs.with_name("texts.parquet")
    decoding = explainer.decoding.with_options(candidates=1)
    start = time.perf_counter()
    explain_file(explainer, pairs, out, Condition(), window=window, decoding=decoding, engine=engine)
    return time.perf_counter() - start, pl.read_parquet(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--window", type=int, default=50)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    explainer = Explainer.from_pretrained(options.run, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        pairs, few = Path(folder) / "pairs.parquet", Path(folder) / "few.parquet"
        write_pairs(explainer, options.pairs, pairs)
        seconds, local = measure(explainer, pairs, options.window, None)
        print(json.dumps({"engine": "local", "seconds": seconds, "texts_per_second": options.pairs / seconds}))
        for workers in options.workers:
            write_pairs(explainer, workers, few)
            start = time.perf_counter()
            os.environ.update(ENVIRONMENT)
            ray.init(
                num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR", address="local"
            )
            connect = time.perf_counter() - start
            load, _ = measure(explainer, few, 1, ray_engine(options.run))
            seconds, texts = measure(explainer, pairs, options.window, ray_engine(options.run))
            ray.shutdown()
            result = {
                "engine": "ray",
                "workers": workers,
                "seconds": seconds,
                "seconds_to_start_ray": connect,
                "seconds_for_a_pair_per_worker": load,
                "texts_per_second": options.pairs / seconds,
                "equal_to_local": texts.equals(local),
            }
            print(json.dumps(result))


if __name__ == "__main__":
    main()
