"""A finished comparison on the users with few training reviews: the subject against each other system, paired.

    python benchmarks/quality/sparse_users.py DATA TABLE --most 3

Reads what `gavamoe compare DATA --out TABLE` wrote. Values are means over seeds; p is the largest of the seeds'.
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
    questions = EvalSet.from_dataset(ReviewDataset.load(options.data), options.split)
    condition = Condition("predicted", options.feature)
    few_N = np.array(questions.catalog.training_reviews(questions.reviews)) <= options.most
    rows = np.flatnonzero(few_N)
    asked = replace(
        questions,
        reviews=questions.reviews[rows.tolist()],
        item_features=questions.item_features and [questions.item_features[row] for row in rows],
    )
    shown = Table("model", "seeds", *SHOWN)
    for directory in sorted((options.table / "systems").iterdir()):
        found: dict[str, list[tuple[float, float, float]]] = {}
        seeds = 0
        for of_seed in sorted(directory.glob("seed-*")):
            seed = int(of_seed.name.removeprefix("seed-"))
            cells = [
                Trial(options.table / "systems" / name / of_seed.name, name, seed)
                for name in (options.subject, directory.name)
            ]
            if any(cell.result(options.split, condition) is None for cell in cells):
                continue
            ours, theirs = (_few(cell.predictions(options.split, condition), rows) for cell in cells)
            metrics = [m for m in METRICS if not m.of_texts or (ours.texts is not None and theirs.texts is not None)]
            for name, gap in compare(asked.outputs(ours), asked.outputs(theirs), metrics).items():
                found.setdefault(name, []).append((gap.first, gap.second, gap.p))
            seeds += 1
        texts = [_cell(found.get(name), directory.name == options.subject) for name in SHOWN]
        shown.add_row(directory.name, str(seeds), *texts)
    print(f"{len(rows)} {options.split} reviews by users with at most {options.most} training reviews; {condition}")
    Console(width=160).print(shown)


def _few(answers: Predictions, rows: np.ndarray) -> Predictions:
    texts = answers.texts and [answers.texts[row] for row in rows]
    return Predictions(texts, None if answers.ratings is None else answers.ratings[rows])


def _cell(seeds: list[tuple[float, float, float]] | None, subject: bool) -> str:
    if not seeds:
        return "–"
    value = f"{np.mean([theirs for _, theirs, _ in seeds]):.3f}"
    return value if subject else f"{value} (p {max(p for *_, p in seeds):.3f})"


if __name__ == "__main__":
    main()
