"""Compare one system with each other system on the users with few training reviews, by paired tests.

    python benchmarks/quality/sparse_users.py DATA TABLE --most 3

TABLE is the output of `gavamoe compare DATA --out TABLE`. Values are means over seeds; p is the largest over seeds.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from gavamoe.baselines.base import Predictions
from gavamoe.conditions import Condition
from gavamoe.data.dataset import ReviewDataset
from gavamoe.evaluation.score import STANDARD_METRICS
from gavamoe.evaluation.significance import compare
from gavamoe.experiments.trial import Trial
from gavamoe.pipeline.eval_set import EvalSet

SHOWN = ("BLEU-1", "BLEU-4", "rouge_1/f_score", "rouge_l/f_score", "USR", "FMR", "FCR", "RMSE")
METRICS = [metric for metric in STANDARD_METRICS if metric.name in SHOWN]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--most", type=int, default=3, help="training reviews of a user")
    parser.add_argument("--subject", default="gavamoe")
    parser.add_argument("--split", default="test")
    parser.add_argument("--feature", default="predicted")
    options = parser.parse_args()
    eval_set = EvalSet.from_dataset(ReviewDataset.load(options.data), options.split)
    condition = Condition("predicted", options.feature)
    is_sparse_N = np.array(eval_set.catalog.training_reviews(eval_set.reviews)) <= options.most
    rows = np.flatnonzero(is_sparse_N)
    subset = replace(
        eval_set,
        reviews=eval_set.reviews[rows.tolist()],
        item_features=eval_set.item_features and [eval_set.item_features[row] for row in rows],
    )
    table = Table("model", "seeds", *SHOWN)
    for directory in sorted((options.table / "systems").iterdir()):
        found: dict[str, list[tuple[float, float, float]]] = {}
        seeds = 0
        for seed_directory in sorted(directory.glob("seed-*")):
            seed = int(seed_directory.name.removeprefix("seed-"))
            trials = [
                Trial(options.table / "systems" / name / seed_directory.name, name, seed)
                for name in (options.subject, directory.name)
            ]
            if any(trial.result(options.split, condition) is None for trial in trials):
                continue
            subject, other = (_select(trial.predictions(options.split, condition), rows) for trial in trials)
            both_write = subject.texts is not None and other.texts is not None
            metrics = [metric for metric in METRICS if both_write or not metric.requires_reference]
            for name, difference in compare(subset.outputs(subject), subset.outputs(other), metrics).items():
                found.setdefault(name, []).append((difference.first, difference.second, difference.p))
            seeds += 1
        texts = [_cell(found.get(name), directory.name == options.subject) for name in SHOWN]
        table.add_row(directory.name, str(seeds), *texts)
    print(f"{len(rows)} {options.split} reviews by users with at most {options.most} training reviews; {condition}")
    Console(width=160).print(table)


def _select(answers: Predictions, rows: np.ndarray) -> Predictions:
    texts = answers.texts and [answers.texts[row] for row in rows]
    return Predictions(texts, None if answers.ratings is None else answers.ratings[rows])


def _cell(differences: list[tuple[float, float, float]] | None, is_subject: bool) -> str:
    if not differences:
        return "–"
    value = f"{np.mean([other for _, other, _ in differences]):.3f}"
    return value if is_subject else f"{value} (p {max(p for *_, p in differences):.3f})"


if __name__ == "__main__":
    main()
