"""The statistics of every row, taken once, and metrics on any weighting of the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric, Rows
from gavamoe.evaluation.outputs import Outputs

Metrics = dict[str, float | None]


class RowScores:
    """Row statistics of one system's outputs under some metrics.

    Args:
        outputs: what is scored.
        metrics: under what; those of one family share their statistics.
        statistics: how to find them for a metric; from the outputs where it is not given.
    """

    def __init__(
        self,
        outputs: Outputs,
        metrics: Sequence[Metric],
        statistics: Callable[[Metric], Rows | None] | None = None,
    ) -> None:
        self.rows = len(outputs)
        self._described = np.ones(self.rows) if outputs.described is None else np.array(outputs.described, dtype=float)
        self.metrics = tuple(metrics)
        self._statistics: dict[Callable[[Outputs], Rows | None], Rows | None] = {}
        for metric in self.metrics:
            if metric.statistics not in self._statistics:
                self._statistics[metric.statistics] = statistics(metric) if statistics else metric.statistics(outputs)

    def knows(self, metric: Metric) -> bool:
        """Whether the outputs have what the metric needs."""
        return self._statistics[metric.statistics] is not None

    def width(self, metric: Metric) -> int:
        """How many totals the metric is taken from: what `values` needs memory for, per weighting."""
        statistics = self._statistics[metric.statistics]
        return 0 if statistics is None else statistics.shape[1]

    def values(self, metric: Metric, weights_BN: np.ndarray) -> np.ndarray:
        """The metric on each weighting of the rows, [B]; a weight says how often the row counts. NaN if not defined."""
        statistics = self._statistics[metric.statistics]
        if statistics is None:
            return np.full(len(weights_BN), np.nan)
        if metric.of_texts:
            weights_BN = weights_BN * self._described
        totals = weights_BN @ statistics if isinstance(statistics, np.ndarray) else (statistics.T @ weights_BN.T).T
        rows = weights_BN.sum(1)
        return np.where(rows > 0, metric.value(totals, np.maximum(rows, 1)), np.nan)

    def on(self, weights_N: np.ndarray) -> Metrics:
        """Every metric on one weighting; None where it is not defined."""
        values = {metric.name: float(self.values(metric, weights_N[None])[0]) for metric in self.metrics}
        return {name: None if np.isnan(value) else value for name, value in values.items()}

    def overall(self) -> Metrics:
        """Every metric on all rows, each counted once."""
        return self.on(np.ones(self.rows))
