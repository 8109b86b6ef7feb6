"""Measure time and memory of `gavamoe prepare` against a plain scan-and-write of the same file, in one run.

    python benchmarks/speed/prepare.py --rows 1000000 --dir benchmarks/out [--files 4] [--ways plain prepare ray]

Writes simulated reviews of about 60 words as JSON lines, then runs each variant in a separate process and prints one
JSON object per line: seconds, rows per second, peak resident memory and the time relative to the plain variant; and the
same for processor time, which other work on the machine changes less. `ray` is `prepare --engine ray` on all processors
of this machine; its processor time is that of the caller alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

BATCH = 250_000
FRAGMENT_WORDS, FRAGMENTS = 10, 6
IMPORT = "from gavamoe.data.prepare import PrepareOptions, prepare; "
WAYS = {
    "plain": "import polars as pl; pl.scan_ndjson({source!r}).sink_parquet({out!r} + '.parquet')",
    "prepare --features off": IMPORT + "prepare([{source!r}], {out!r}, PrepareOptions(features='off'))",
    "prepare": IMPORT + "prepare([{source!r}], {out!r})",
    "ray": IMPORT
    + """from gavamoe.data.prepare.ray_engine import on_ray
with on_ray() as engine: prepare([{source!r}], {out!r}, engine=engine)
""",
}


def simulate(path: Path, rows: int, seed: int = 0) -> None:
    """Write rows of user, item, rating, timestamp and a text of 60 words with a skewed vocabulary."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnoprstuvwy"))
    words = np.array(["".join(rng.choice(letters, length)) for length in rng.integers(2, 10, 30_000)])
    words[:8] = ["the", "is", "great", "story", "a", "acting", "dull", "and"]
    drawn = np.minimum(rng.zipf(1.3, (50_000, FRAGMENT_WORDS)) - 1, len(words) - 1)
    fragments = pl.Series([" ".join(words[row]) for row in drawn])
    with path.open("wb") as file:
        for start in range(0, rows, BATCH):
            size = min(BATCH, rows - start)
            parts = [fragments.gather(rng.integers(0, len(fragments), size)) for _ in range(FRAGMENTS)]
            frame = pl.DataFrame(
                {
                    # Some users write far more than others, but few pairs repeat: repeats are dropped and cost less.
                    "user": (max(rows // 15, 1) * rng.random(size) ** 2).astype(int).astype(str),
                    "item": (max(rows // 100, 1) * rng.random(size) ** 2).astype(int).astype(str),
                    "rating": rng.choice([1, 2, 3, 4, 5], size, p=[0.05, 0.08, 0.17, 0.3, 0.4]),
                    "timestamp": rng.integers(1_300_000_000, 1_700_000_000, size),
                }
            )
            frame = frame.with_columns(text=pl.select(pl.concat_str(parts, separator=". ")).to_series())
            frame.write_ndjson(file)


def measure(way: str, source: Path, out: Path) -> tuple[float, float, float]:
    """Run one variant in a separate process; return seconds, processor seconds and peak resident memory in GiB."""
    code = WAYS[way].format(source=str(source), out=str(out))
    code += "\nimport resource as r; u = r.getrusage(r.RUSAGE_SELF); print(u.ru_utime + u.ru_stime, u.ru_maxrss)"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    processor, peak = done.stdout.split()[-2:]
    return time.perf_counter() - start, float(processor), int(peak) / (1 << 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dir", type=Path, required=True, help="where the simulated file and the outputs go")
    parser.add_argument("--files", type=int, default=1, help="how many files the rows are divided into")
    parser.add_argument("--ways", nargs="+", default=list(WAYS)[:-1], choices=list(WAYS))
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    source = options.dir / f"reviews-{options.rows}-{options.files}-*.jsonl"
    rows = options.rows // options.files
    for number in range(options.files):
        file = Path(str(source).replace("*", str(number)))
        if not file.exists():
            simulate(file, rows, seed=number)
    size = sum(file.stat().st_size for file in options.dir.glob(source.name))
    print(json.dumps({"rows": options.rows, "bytes": size, "cores": os.cpu_count(), "polars": pl.__version__}))
    plain: tuple[float, float] | None = None
    for way in options.ways:
        seconds, processor, gib = measure(way, source, options.dir / "out")
        plain = plain or (seconds, processor)
        result = {
            "way": way,
            "seconds": round(seconds, 1),
            "rows_per_second": round(options.rows / seconds),
            "times_plain": round(seconds / plain[0], 2),
            "processor_seconds": round(processor, 1),
            "processor_times_plain": round(processor / plain[1], 2),
            "peak_gib": round(gib, 2),
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
