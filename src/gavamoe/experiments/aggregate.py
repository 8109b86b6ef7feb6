"""What the cells of a comparison add up to: mean and spread over seeds, and which differences hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from gavamoe.baselines.base import Predictions
from gavamoe.conditions import Condition
from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.report import SHOWN, SHOWN_FURTHER
from gavamoe.evaluation.score import LOWER_IS_BETTER, STANDARD_METRICS, further_metrics
from gavamoe.evaluation.significance import Difference, compare
from gavamoe.experiments.eval_set import EvalSet
from gavamoe.experiments.trial import Trial

TESTED = tuple(
    metric for metric in (*STANDARD_METRICS, *further_metrics()) if metric.name in {**SHOWN, **SHOWN_FURTHER}
)
LEVEL = 0.05  # below it a difference is marked


@dataclass(frozen=True)
class MetricSummary:
    """A metric over the seeds.

    values: one a seed. p: of the difference to the subject on the same rows, the largest over the seeds and 1 where
    they point in different directions; None where it was not tested.
    """

    values: tuple[float, ...]
    p: float | None = None

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.values)

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None of a single one."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass
class SystemResult:
    """A system of a table: figures by metric, what it was told, what its training took (means over seeds).

    losses: validation loss of the texts by epoch, nats a token, over the seeds that trained so long; phases of a
    training follow each other.
    """

    model: str
    ours: bool
    seeds: int
    told: dict[str, str]
    figures: dict[str, MetricSummary]
    training: dict[str, float | None]
    groups: dict[str, dict[str, float]] = field(default_factory=dict)
    losses: list[MetricSummary] = field(default_factory=list)


@dataclass
class Table:
    """All systems under one condition; `best` names the best baseline of each metric."""

    condition: Condition
    split: str
    n: int
    subject: str
    lines: list[SystemResult]

    @property
    def best(self) -> dict[str, SystemResult]:
        """The best system of each metric but the subject: of those that are not ours, where there are any."""
        rivals = [line for line in self.lines if line.model != self.subject]
        others = [line for line in rivals if not line.ours] or rivals
        found: dict[str, SystemResult] = {}
        for metric in (*SHOWN, *SHOWN_FURTHER):
            known = [line for line in others if metric in line.figures]
            if known:
                choose = min if metric in LOWER_IS_BETTER else max
                found[metric] = choose(known, key=lambda line: line.figures[metric].mean)
        return found


def table_of(
    trials: dict[str, list[Trial]], ours: set[str], subject: str, condition: Condition, eval_set: EvalSet
) -> Table:
    """Gather the finished cells of each model; one without a result under this condition is left out."""
    split = eval_set.split
    done = {m: [trial for trial in of_model if trial.result(split, condition)] for m, of_model in trials.items()}
    p_values = _tests(done, subject, condition, eval_set)
    lines = [_line(m, m in ours, found, split, condition, p_values.get(m, {})) for m, found in done.items() if found]
    return Table(condition, split, len(eval_set.reviews), subject, lines)


def _line(
    model: str, ours: bool, trials: list[Trial], split: str, condition: Condition, p_values: dict[str, float]
) -> SystemResult:
    results = [trial.result(split, condition) or {} for trial in trials]
    trainings = [trial.training() or {} for trial in trials]
    # A cell that was scored where another library was installed may lack a metric.
    metrics = [name for name in results[0]["metrics"] if all(r["metrics"].get(name) is not None for r in results)]
    figures = {name: MetricSummary(tuple(r["metrics"][name] for r in results), p_values.get(name)) for name in metrics}
    return SystemResult(
        model,
        ours,
        len(trials),
        results[0]["told"],
        figures,
        {
            name: _mean([t.get(name) for t in trainings])
            for name in ("parameters", "seconds", "tokens", "epochs", "valid_loss")
        },
        _groups(results),
        _losses(trainings),
    )


def _losses(trainings: list[dict[str, Any]]) -> list[MetricSummary]:
    histories = [
        [loss for record in training.get("history", []) if (loss := record.get("eval_loss", record.get("valid_text")))]
        for training in trainings
    ]
    epochs = max(map(len, histories), default=0)
    return [
        MetricSummary(tuple(losses[epoch] for losses in histories if epoch < len(losses))) for epoch in range(epochs)
    ]


def _groups(results: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """{group of users: {metric: mean over seeds}}."""
    (grouping,) = results[0]["groups"]
    groups = [result["groups"][grouping] for result in results]
    return {
        group: {
            metric: value
            for metric in groups[0][group]["metrics"]
            if (value := _mean([of_seed[group]["metrics"].get(metric) for of_seed in groups])) is not None
        }
        for group in groups[0]
    }


def _tests(
    done: dict[str, list[Trial]], subject: str, condition: Condition, eval_set: EvalSet
) -> dict[str, dict[str, float]]:
    """{model: {metric: p}} against the subject, seed by seed."""
    ours = {trial.seed: trial.predictions(eval_set.split, condition) for trial in done.get(subject, [])}
    outputs = {seed: eval_set.outputs(predictions) for seed, predictions in ours.items()}
    found: dict[str, dict[str, float]] = {}
    for model, trials in done.items():
        if model != subject:
            pairs = [
                (trial.seed, trial.predictions(eval_set.split, condition)) for trial in trials if trial.seed in ours
            ]
            found[model] = max_p_over_seeds(
                [
                    compare(outputs[seed], eval_set.outputs(theirs), _common_metrics(ours[seed], theirs))
                    for seed, theirs in pairs
                ]
            )
    return found


def _common_metrics(first: Predictions, second: Predictions) -> list[Metric]:
    both_write = first.texts is not None and second.texts is not None
    return [metric for metric in TESTED if both_write or not metric.requires_reference]


def max_p_over_seeds(by_seed: Sequence[Mapping[str, Difference]]) -> dict[str, float]:
    """Per metric, the p of the seed that shows least; 1 where the seeds do not even agree on which system is better."""
    found: dict[str, float] = {}
    for name in dict.fromkeys(name for differences in by_seed for name in differences):
        of_seeds = [differences[name] for differences in by_seed if name in differences]
        agree = len({difference.first > difference.second for difference in of_seeds}) == 1
        found[name] = max(difference.p for difference in of_seeds) if agree else 1.0
    return found


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) and known else None
