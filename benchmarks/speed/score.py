"""Time the scoring of a large file, and estimate the time of comparing every pair of texts.

    python benchmarks/speed/score.py [--rows 100000]

The words follow Zipf's law, so there are many n-grams and few of them are common. Each row has a reference, a feature
and two ratings.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path

import numpy as np
from timing import seconds

from gavamoe.evaluation.metrics import diversity, features
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import RowScores

VOCABULARY, FEATURES, USERS, FEW = 20_000, 300, 10_000, 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    options = parser.parse_args()
    rows = simulated_rows(options.rows)
    wall, processor = score_command(rows)
    print(f"gavamoe score, {len(rows):,} rows: {wall:.1f} s, {processor:.1f} s of processor time")
    metrics = [metric for metric in (*diversity.METRICS, *features.METRICS) if metric.name in ("USR", "DIV")]
    outputs = outputs_of(rows)
    linear = seconds({"all": lambda: RowScores(outputs, metrics).overall()}, rounds=1, warm=False)
    print(f"USR and DIV of them: {linear['all']:.1f} s")
    few = outputs_of(rows[:FEW])
    ways = {"USR": lambda: usr_by_pairs(few), "DIV": lambda: div_by_pairs(few)}
    by_pairs = seconds(ways, rounds=1, warm=False)
    minutes = sum(by_pairs.values()) * (len(rows) / FEW) ** 2 / 60
    print(f"by pairs, {FEW:,} rows: {', '.join(f'{way} {spent:.2f} s' for way, spent in by_pairs.items())}")
    print(f"by pairs, {len(rows):,} rows, computed from that: {minutes:.0f} minutes")
    found = RowScores(few, metrics).overall()
    same = np.allclose(np.array([found[way] for way in ways], float), [by_pair() for by_pair in ways.values()])
    print(f"the same values: {same}")


def simulated_rows(rows: int) -> list[dict[str, object]]:
    """Return rows with the columns that an evaluation writes."""
    rng = np.random.default_rng(0)

    def texts() -> list[str]:
        words = np.minimum(rng.zipf(1.2, (rows, 20)), VOCABULARY)
        return [" ".join(f"w{word}" for word in text[:length]) for text, length in zip(words, lengths, strict=True)]

    lengths = rng.integers(5, 21, rows)
    rating = rng.integers(1, 6, rows)
    columns = {
        "prediction": texts(),
        "reference": texts(),
        "feature": [f"w{word}" for word in rng.integers(1, FEATURES, rows)],
        "user": [f"u{user}" for user in rng.integers(0, USERS, rows)],
        "rating": rating.tolist(),
        "predicted_rating": (rating + rng.normal(size=rows)).tolist(),
        "training_reviews": rng.integers(0, 100, rows).tolist(),
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def score_command(rows: list[dict[str, object]]) -> tuple[float, float]:
    """Return wall-clock and processor seconds of the whole command."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "predictions.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "gavamoe", "score", path, "--json"], check=True, capture_output=True)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def outputs_of(rows: list[dict[str, object]]) -> Outputs:
    """Return the outputs of the rows, with texts and features."""
    predictions, references = ([str(row[name]).split() for row in rows] for name in ("prediction", "reference"))
    known = [str(row["feature"]) for row in rows]
    return Outputs(predictions, references, known, set(known))


def usr_by_pairs(outputs: Outputs) -> float:
    """Return USR by comparing each text with the distinct texts before it."""
    different: list[list[str]] = []
    for text in outputs.predictions:
        if not any(text == other for other in different):
            different.append(text)
    return len(different) / len(outputs.predictions)


def div_by_pairs(outputs: Outputs) -> float:
    """Return DIV by counting shared features pair by pair."""
    named = [set(features) for features in outputs.named_features]
    return float(np.mean([len(one & other) for one, other in combinations(named, 2)]))


if __name__ == "__main__":
    main()
