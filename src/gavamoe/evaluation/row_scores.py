"""`RowScores`: the statistics of every row, computed once, and metrics on any weighting of the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric, RowStatistics
from gavamoe.evaluation.outputs import Outputs

Metrics = dict[str, float | None]  # metric name -> value; None where the metric is not defined


class RowScores:
    """The row statistics of one system's outputs under some metrics.

    A weighting gives each row a weight that says how often the row counts. Weights 1 and 0 select a group of rows; the
    counts of a bootstrap resample give the metrics of that resample.

    Args:
        outputs: the outputs to score, n rows.
        metrics: the metrics to compute; metrics of one family share their statistics.
        statistics: how to compute a metric's statistics; by default `metric.statistics(outputs)`.
    """

    def __init__(
        self,
        outputs: Outputs,
        metrics: Sequence[Metric],
        statistics: Callable[[Metric], RowStatistics | None] | None = None,
    ) -> None:
        self.rows = len(outputs)
        has_reference = outputs.has_reference
        self._has_reference = np.ones(self.rows) if has_reference is None else np.array(has_reference, dtype=float)
        self.metrics = tuple(metrics)
        self._statistics: dict[Callable[[Outputs], RowStatistics | None], RowStatistics | None] = {}
        for metric in self.metrics:
            if metric.statistics not in self._statistics:
                self._statistics[metric.statistics] = statistics(metric) if statistics else metric.statistics(outputs)

    def is_available(self, metric: Metric) -> bool:
        """Return whether the outputs have the columns that the metric needs."""
        return self._statistics[metric.statistics] is not None

    def num_statistics(self, metric: Metric) -> int:
        """Return how many statistics the metric has per row; `values` needs that many numbers per weighting."""
        statistics = self._statistics[metric.statistics]
        return 0 if statistics is None else statistics.shape[1]

    def values(self, metric: Metric, weights_BN: np.ndarray) -> np.ndarray:
        """Compute one metric on each of B weightings of the rows.

        Args:
            metric: one of `metrics`.
            weights_BN: a weight per row, [B, n].

        Returns:
            The values, [B]; NaN where the metric is not defined.
        """
        statistics = self._statistics[metric.statistics]
        if statistics is None:
            return np.full(len(weights_BN), np.nan)
        if metric.requires_reference:
            weights_BN = weights_BN * self._has_reference
        totals = weights_BN @ statistics if isinstance(statistics, np.ndarray) else (statistics.T @ weights_BN.T).T
        rows = weights_BN.sum(1)
        return np.where(rows > 0, metric.value(totals, np.maximum(rows, 1)), np.nan)

    def weighted(self, weights_N: np.ndarray) -> Metrics:
        """Compute every metric on one weighting, [n]; None where a metric is not defined."""
        values = {metric.name: float(self.values(metric, weights_N[None])[0]) for metric in self.metrics}
        return {name: None if np.isnan(value) else value for name, value in values.items()}

    def overall(self) -> Metrics:
        """Compute every metric on all rows, each counted once."""
        return self.weighted(np.ones(self.rows))
