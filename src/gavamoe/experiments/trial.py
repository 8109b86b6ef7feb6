"""A trial is one system with one seed: trained once, then evaluated once per split and condition.

systems/MODEL/seed-S/training.json, and what the system itself saves
systems/MODEL/seed-S/SPLIT/CONDITION/predictions.jsonl, result.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gavamoe.baselines.base import SUMMARY, Predictions
from gavamoe.baselines.data import TextData
from gavamoe.conditions import Condition
from gavamoe.evaluation.groups import SPARSITY, TRAINING_REVIEWS, by_group
from gavamoe.experiments.systems import SystemSpec
from gavamoe.files import reading, write_json, write_json_lines
from gavamoe.pipeline.eval_set import EvalSet

RESULT, PREDICTIONS = "result.json", "predictions.jsonl"


@dataclass(frozen=True)
class Trial:
    """The files of one system with one seed.

    Args:
        directory: systems/MODEL/seed-S of a comparison.
        model: name of the system.
        seed: of its training.
    """

    directory: Path
    model: str
    seed: int

    def result_directory(self, split: str, condition: Condition) -> Path:
        """Return the directory of the result under a condition."""
        return self.directory / split / condition.slug

    def training(self) -> dict[str, Any] | None:
        """Return the training summary; None before training is finished."""
        return _read(self.directory / SUMMARY, ())

    def result(self, split: str, condition: Condition) -> dict[str, Any] | None:
        """Return the metrics, overall and by group; None before the evaluation."""
        return _read(self.result_directory(split, condition) / RESULT, ("metrics", "groups"))

    def predictions(self, split: str, condition: Condition) -> Predictions:
        """Return the predictions, one per row of the evaluation set."""
        path = self.result_directory(split, condition) / PREDICTIONS
        with reading(path), path.open(encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
            texts, ratings = ([row[name] for row in rows] for name in ("prediction", "predicted_rating"))
            return Predictions(
                None if texts[0] is None else list(map(_text, texts)),
                None if ratings[0] is None else np.array(ratings, dtype=float),
            )


def complete_trial(
    trial: Trial, spec: SystemSpec, parameters: int, data: TextData, eval_set: EvalSet, conditions: list[Condition]
) -> None:
    """Train and evaluate what is not finished yet.

    Args:
        trial: where its files are.
        spec: the system.
        parameters: how many a network from scratch should have.
        data: what it is trained on.
        eval_set: what it is evaluated on.
        conditions: those that the system does not belong to are skipped.
    """
    split = eval_set.split
    wanted = [condition for condition in conditions if spec.belongs_in(condition)]
    missing = [condition for condition in wanted if trial.result(split, condition) is None]
    if not missing:
        return
    system = spec.create(trial.seed, parameters)
    if data.config.max_reviews is not None:  # each seed draws reviews of its own
        data = replace(data, seed=trial.seed)
    if trial.training() is None:
        trial.directory.mkdir(parents=True, exist_ok=True)
        training = system.fit(data, trial.seed, trial.directory)
        write_json(trial.directory / SUMMARY, training.to_dict())
    else:
        system.load(data, trial.seed, trial.directory)
    by_input: dict[tuple[str, ...], Predictions] = {}
    for condition in missing:
        sources = tuple(getattr(condition, field) for field in sorted(spec.inputs))
        if sources not in by_input:  # the same input gives the same predictions
            by_input[sources] = system.predict(eval_set.reviews, condition)
        predictions = by_input[sources]
        directory = trial.result_directory(split, condition)
        _write_predictions(directory / PREDICTIONS, eval_set, predictions, condition.oracle)
        write_json(directory / RESULT, _result(trial, spec.inputs, predictions, eval_set, condition))


def _result(
    trial: Trial, inputs: frozenset[str], predictions: Predictions, eval_set: EvalSet, condition: Condition
) -> dict[str, Any]:
    scores = eval_set.score(predictions, eval_set.metrics_of(predictions))
    return {
        "model": trial.model,
        "seed": trial.seed,
        "n": len(eval_set.reviews),
        "told": condition.told(inputs),
        "oracle": condition.oracle,
        "metrics": scores.overall(),
        "groups": {SPARSITY: by_group(scores, eval_set.sparsity_labels())},
        "empty": None if predictions.texts is None else sum(not text for text in predictions.texts),
    }


def _write_predictions(path: Path, eval_set: EvalSet, predictions: Predictions, oracle: bool) -> None:
    nothing = [None] * len(eval_set.reviews)
    texts = nothing if predictions.texts is None else predictions.texts
    ratings = nothing if predictions.ratings is None else predictions.ratings.tolist()
    columns = zip(eval_set.reference_rows(), texts, ratings, eval_set.training_reviews(), strict=True)
    rows = (
        {**row, "prediction": text, "predicted_rating": rating, TRAINING_REVIEWS: count, "oracle": oracle}
        for row, text, rating, count in columns
    )
    write_json_lines(path, rows)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, found {value!r}")
    return value


def _read(path: Path, objects: Sequence[str]) -> dict[str, Any] | None:
    """Return the content of a JSON file whose keys `objects` hold objects; None if there is no such file."""
    if not path.is_file():
        return None
    with reading(path):
        content = dict(json.loads(path.read_text(encoding="utf-8")))
        for key in objects:
            content[key] = dict(content[key])
        return content
