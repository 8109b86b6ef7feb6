"""Results of a comparison over its trials: mean and spread over seeds, and the significance of differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from gavamoe.baselines.base import Predictions
from gavamoe.conditions import Condition
from gavamoe.evaluation.bounds import Bounds
from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.report import ALL_SHOWN
from gavamoe.evaluation.score import LOWER_IS_BETTER, PAIR_METRICS, RATING_METRICS
from gavamoe.evaluation.significance import Difference, compare
from gavamoe.experiments.systems import SystemSpec, subject_of
from gavamoe.experiments.trial import Trial
from gavamoe.pipeline.eval_set import EvalSet, all_metrics

TESTED = tuple(metric for metric in all_metrics() if metric.name in ALL_SHOWN)
PAIR_NAMES = tuple(metric.name for metric in PAIR_METRICS)
SIGNIFICANCE_LEVEL = 0.05
TRAINING_COSTS = ("parameters", "seconds", "tokens", "epochs", "valid_loss")


@dataclass(frozen=True)
class MetricSummary:
    """A metric over the seeds.

    Args:
        values: one per seed.
        p: p-value of the difference to the subject on the same rows. It is the largest over the seeds, and 1 where the
            differences have different signs; None where no test was made.
    """

    values: tuple[float, ...]
    p: float | None = None

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return fmean(self.values)

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None for a single seed."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass
class SystemResult:
    """The results of a system under one condition.

    Args:
        model: name of the system.
        is_gavamoe: whether it is GaVaMoE or a variant of it.
        seeds: number of finished trials.
        inputs: which facts it got as input, and their source.
        metrics: over the seeds, by name.
        training: parameters, seconds, tokens, epochs and validation loss, means over the seeds.
        groups: mean of each metric by group of users.
        losses: validation loss of the texts by epoch, in nats per token, over the seeds that trained so long. Phases
            of a training follow each other.
    """

    model: str
    is_gavamoe: bool
    seeds: int
    inputs: dict[str, str]
    metrics: dict[str, MetricSummary]
    training: dict[str, float | None]
    groups: dict[str, dict[str, float]] = field(default_factory=dict)
    losses: list[MetricSummary] = field(default_factory=list)


@dataclass
class Table:
    """The results of all systems under one condition.

    Args:
        condition: which facts about a pair the systems got.
        split: the split that was evaluated.
        n: number of evaluated reviews.
        subject: name of the system that the others are tested against.
        results: one per system that belongs in the table.
        bounds: floor and ceiling of a metric, by its name.
    """

    condition: Condition
    split: str
    n: int
    subject: str
    results: list[SystemResult]
    bounds: dict[str, Bounds] = field(default_factory=dict)

    @property
    def has_texts(self) -> bool:
        """Whether any system has a metric of texts."""
        rating_metrics = {metric.name for metric in RATING_METRICS}
        return any(result.metrics.keys() - rating_metrics for result in self.results)

    @property
    def best_of_others(self) -> dict[str, SystemResult]:
        """The best system of each metric apart from the subject: the best baseline, if any baseline is compared."""
        others = [result for result in self.results if result.model != self.subject]
        candidates = [result for result in others if not result.is_gavamoe] or others
        best: dict[str, SystemResult] = {}
        for metric in ALL_SHOWN:
            known = [result for result in candidates if metric in result.metrics]
            if known:
                choose = min if metric in LOWER_IS_BETTER else max
                best[metric] = choose(known, key=lambda result: result.metrics[metric].mean)
        return best

    def to_dict(self) -> dict[str, Any]:
        """Return the table as `gavamoe compare --json` prints it."""
        return {
            "conditions": self.condition.to_dict(),
            "split": self.split,
            "n": self.n,
            "subject": self.subject,
            "best_of_others": {metric: result.model for metric, result in self.best_of_others.items()},
            "models": {
                result.model: {
                    "seeds": result.seeds,
                    "told": result.inputs,
                    "metrics": {
                        name: {"mean": summary.mean, "spread": summary.spread, "p": summary.p}
                        | (self.bounds[name].to_dict() if name in self.bounds else {})
                        for name, summary in result.metrics.items()
                    },
                    "training": result.training,
                }
                for result in self.results
            },
        }


def to_dict(tables: Sequence[Table], out: Path) -> dict[str, Any]:
    """Return a comparison in the directory `out` as one JSON object."""
    return {"out": str(out), "tables": [table.to_dict() for table in tables]}


def make_table(
    specs: Sequence[SystemSpec], trials: Mapping[str, Sequence[Trial]], condition: Condition, eval_set: EvalSet
) -> Table:
    """Gather the finished trials under a condition; a system without any is left out.

    Args:
        specs: the systems.
        trials: of each system, by its name.
        condition: one that trials were evaluated under.
        eval_set: what they were evaluated on.
    """
    split, subject = eval_set.split, subject_of(specs).name
    finished = {name: [t for t in of_model if t.result(split, condition)] for name, of_model in trials.items()}
    p_values = _p_values(finished, subject, condition, eval_set)
    results = [
        _summarise(spec, finished[spec.name], split, condition, p_values.get(spec.name, {}))
        for spec in specs
        if finished[spec.name]
    ]
    bounds = eval_set.bounds if any(metric in result.metrics for result in results for metric in PAIR_NAMES) else {}
    return Table(condition, split, len(eval_set.reviews), subject, results, bounds)


def _summarise(
    spec: SystemSpec, trials: list[Trial], split: str, condition: Condition, p_values: dict[str, float]
) -> SystemResult:
    results = [trial.result(split, condition) or {} for trial in trials]
    trainings = [trial.training() or {} for trial in trials]
    # A trial that was scored where another library was installed may lack a metric.
    names = [name for name in results[0]["metrics"] if all(r["metrics"].get(name) is not None for r in results)]
    return SystemResult(
        model=spec.name,
        is_gavamoe=spec.is_gavamoe,
        seeds=len(trials),
        inputs=results[0]["told"],
        metrics={n: MetricSummary(tuple(r["metrics"][n] for r in results), p_values.get(n)) for n in names},
        training={name: _mean([training.get(name) for training in trainings]) for name in TRAINING_COSTS},
        groups=_groups(results),
        losses=_losses(trainings),
    )


def _losses(trainings: list[dict[str, Any]]) -> list[MetricSummary]:
    """Return the validation losses by epoch from training histories, GaVaMoE's or a baseline's."""
    histories = [
        [loss for record in training.get("history", []) if (loss := record.get("eval_loss", record.get("valid_text")))]
        for training in trainings
    ]
    epochs = max(map(len, histories), default=0)
    return [
        MetricSummary(tuple(losses[epoch] for losses in histories if epoch < len(losses))) for epoch in range(epochs)
    ]


def _groups(results: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return {group of users: {metric: mean over seeds}}."""
    (grouping,) = results[0]["groups"]
    groups = [result["groups"][grouping] for result in results]
    return {
        group: {
            metric: value
            for metric in groups[0][group]["metrics"]
            if (value := _mean([seed_groups[group]["metrics"].get(metric) for seed_groups in groups])) is not None
        }
        for group in groups[0]
    }


def _p_values(
    trials: dict[str, list[Trial]], subject: str, condition: Condition, eval_set: EvalSet
) -> dict[str, dict[str, float]]:
    """Return {model: {metric: p}} of the differences to the subject, tested seed by seed."""
    split = eval_set.split
    of_subject = {trial.seed: trial.predictions(split, condition) for trial in trials.get(subject, [])}
    outputs = {seed: eval_set.outputs(predictions) for seed, predictions in of_subject.items()}
    found: dict[str, dict[str, float]] = {}
    for model, of_model in trials.items():
        if model == subject:
            continue
        differences = []
        for trial in of_model:
            if trial.seed in of_subject:
                other = trial.predictions(split, condition)
                metrics = _common_metrics(of_subject[trial.seed], other)
                differences.append(compare(outputs[trial.seed], eval_set.outputs(other), metrics))
        found[model] = max_p_over_seeds(differences)
    return found


def _common_metrics(first: Predictions, second: Predictions) -> list[Metric]:
    both_write = first.texts is not None and second.texts is not None
    return [metric for metric in TESTED if both_write or not metric.requires_reference]


def max_p_over_seeds(by_seed: Sequence[Mapping[str, Difference]]) -> dict[str, float]:
    """Return the largest p of each metric over the seeds; 1 where the seeds disagree on which system is better."""
    found: dict[str, float] = {}
    for name in dict.fromkeys(name for differences in by_seed for name in differences):
        differences = [of_seed[name] for of_seed in by_seed if name in of_seed]
        agree = len({difference.first > difference.second for difference in differences}) == 1
        found[name] = max(difference.p for difference in differences) if agree else 1.0
    return found


def _mean(values: list[float | None]) -> float | None:
    """Return the mean, None if a value is missing."""
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) and known else None
