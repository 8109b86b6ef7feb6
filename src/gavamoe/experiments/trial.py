"""One system with one seed: trained once, asked once per split and condition, everything kept.

systems/MODEL/seed-S/training.json, what the system keeps of itself
systems/MODEL/seed-S/SPLIT/CONDITION/predictions.jsonl, result.json
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gavamoe.baselines.base import Predictions, System, TrainingSummary
from gavamoe.baselines.data import TextData
from gavamoe.conditions import Condition
from gavamoe.evaluation.groups import SPARSITY, TRAINING_REVIEWS, by_group
from gavamoe.evaluation.metrics.rating import METRICS as RATING_METRICS
from gavamoe.evaluation.row_scores import RowScores
from gavamoe.evaluation.score import STANDARD_METRICS, further_metrics
from gavamoe.experiments.eval_set import EvalSet
from gavamoe.files import write_json, write_json_lines

TRAINING, RESULT, PREDICTIONS = "training.json", "result.json", "predictions.jsonl"


@dataclass(frozen=True)
class Trial:
    """Where a system with a seed keeps what it did."""

    directory: Path
    model: str
    seed: int

    def asked(self, split: str, condition: Condition) -> Path:
        """Where its answers lie."""
        return self.directory / split / condition.slug

    def training(self) -> dict[str, Any] | None:
        """What training took, once it is done."""
        return _read(self.directory / TRAINING)

    def result(self, split: str, condition: Condition) -> dict[str, Any] | None:
        """Metrics and groups, once they are there."""
        return _read(self.asked(split, condition) / RESULT)

    def predictions(self, split: str, condition: Condition) -> Predictions:
        """What the system said, row by row."""
        with (self.asked(split, condition) / PREDICTIONS).open(encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        texts, ratings = ([row[name] for row in rows] for name in ("prediction", "predicted_rating"))
        return Predictions(
            None if texts[0] is None else texts, None if ratings[0] is None else np.array(ratings, dtype=float)
        )


def complete(
    trial: Trial, make: Callable[[], System], data: TextData, eval_set: EvalSet, conditions: list[Condition]
) -> None:
    """Train and ask what is not yet done."""
    split = eval_set.split
    missing = [condition for condition in conditions if trial.result(split, condition) is None]
    if not missing:
        return
    system = make()
    missing = [condition for condition in missing if tells(system, condition)]
    if trial.training() is None:
        trial.directory.mkdir(parents=True, exist_ok=True)
        training: TrainingSummary = system.fit(data, trial.seed, trial.directory)
        write_json(trial.directory / TRAINING, training.to_dict())
    elif missing:
        system.load(data, trial.seed, trial.directory)
    answered: dict[tuple[str, ...], Predictions] = {}
    for condition in missing:
        told = tuple(getattr(condition, fact) for fact in sorted(system.inputs))
        if told not in answered:  # a system that is told the same says the same
            answered[told] = system.predict(eval_set.reviews, condition)
        predictions = answered[told]
        where = trial.asked(split, condition)
        _write_predictions(where / PREDICTIONS, eval_set, predictions, condition.oracle)
        write_json(where / RESULT, _result(trial, system, predictions, eval_set, condition))


def tells(system: System, condition: Condition) -> bool:
    """Whether the system belongs in the condition's table: in an oracle's, only those who are told the truth."""
    told = {"rating": condition.rating, "feature": condition.feature}
    return not condition.oracle or any(told[fact] == "given" for fact in system.inputs)


def _result(
    trial: Trial, system: System, predictions: Predictions, eval_set: EvalSet, condition: Condition
) -> dict[str, Any]:
    metrics = (*STANDARD_METRICS, *further_metrics()) if predictions.texts is not None else RATING_METRICS
    scores = RowScores(eval_set.outputs(predictions), metrics)
    return {
        "model": trial.model,
        "seed": trial.seed,
        "n": len(eval_set.reviews),
        "told": {
            fact: getattr(condition, fact) for fact in sorted(system.inputs) if getattr(condition, fact) != "none"
        },
        "oracle": condition.oracle,
        "metrics": scores.overall(),
        "groups": {SPARSITY: by_group(scores, eval_set.sparsity())},
        "empty": None if predictions.texts is None else sum(not text for text in predictions.texts),
    }


def _write_predictions(path: Path, eval_set: EvalSet, predictions: Predictions, oracle: bool) -> None:
    reviews, counts = eval_set.reviews, eval_set.catalog.training_reviews(eval_set.reviews)
    texts = predictions.texts if predictions.texts is not None else [None] * len(reviews)
    ratings = predictions.ratings.tolist() if predictions.ratings is not None else [None] * len(reviews)
    known = reviews.select("user", "item", reference=pl.col("text").fill_null(""), rating="rating", feature="feature")
    columns = zip(known.iter_rows(named=True), texts, ratings, counts, strict=True)
    rows = (
        {**row, "prediction": text, "predicted_rating": rating, TRAINING_REVIEWS: count, "oracle": oracle}
        for row, text, rating, count in columns
    )
    write_json_lines(path, rows)


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
