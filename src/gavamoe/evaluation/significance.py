"""Confidence intervals of a metric, and tests of the difference between two systems on the same rows.

| metric counts | interval | test of a difference |
|---|---|---|
| anything else | percentile bootstrap over rows (Efron 1979) | paired bootstrap (Koehn 2004) |
| distinct items (USR, USN, FCR, Distinct, DIV) | none | approximate randomisation (Noreen 1989) |

On fewer than 30 rows, every difference is tested by randomisation.

The paired bootstrap draws the same rows of both systems. A resample repeats rows, so it cannot estimate a count of
distinct items. Approximate randomisation swaps the two systems' outputs in a random half of the rows: if the systems
are alike, a swap rarely gives a difference as large as the observed one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric, RowStatistics
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import RowScores

RESAMPLES = 1000
# A bootstrap of fewer rows finds differences where there are none: of 10 rows alike, 8 % at p < .05.
MIN_BOOTSTRAP_ROWS = 30
CONFIDENCE = 0.95
ROUNDING = 1e-9  # smaller differences come from the order of summation, not from the systems
MAX_CELLS = 20_000_000  # size of a block of weights or totals: 160 MB

Interval = tuple[float, float]
# Maps a generator and a number of draws to one or two weightings of the rows, [draws, rows] each.
Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class Difference:
    """The difference of two systems in one metric, on the same rows.

    Args:
        first, second: the metric of each system.
        interval: 95 % confidence interval of first - second; None where distinct items are counted.
        p: two-sided p-value; never below 1 / (resamples + 1).
        test: the test that gave p.
    """

    first: float
    second: float
    interval: Interval | None
    p: float
    test: Literal["paired bootstrap", "randomisation"]


def confidence_intervals(scores: RowScores) -> dict[str, Interval]:
    """Compute the 95 % percentile bootstrap interval of each metric.

    Args:
        scores: row statistics of one system.

    Returns:
        (low, high) by metric name, without metrics that count distinct items or that the outputs do not define.
    """
    metrics = [metric for metric in scores.metrics if metric.bootstrap and scores.is_available(metric)]
    drawn = _repeat(scores, metrics, lambda rng, size: (_resamples(rng, size, scores.rows),))
    intervals = {name: _interval(values) for name, (values,) in drawn.items()}
    return {name: interval for name, interval in intervals.items() if interval is not None}


def compare(first: Outputs, second: Outputs, metrics: Sequence[Metric]) -> dict[str, Difference]:
    """Test the difference of two systems on the same rows, per metric.

    Args:
        first, second: row i of both is the same (user, item) pair.
        metrics: the metrics to compare.

    Returns:
        A `Difference` by metric name, for the metrics that are defined for both systems.

    Raises:
        DataError: the systems have different numbers of rows.
    """
    rows = len(first)
    both = first.concatenate(second)
    scores = RowScores(both, metrics, lambda metric: _paired_statistics(metric, first, second, both))
    ones, zeros = np.ones((1, rows)), np.zeros((1, rows))
    each_system = np.vstack([np.hstack([ones, zeros]), np.hstack([zeros, ones])])
    values = {metric.name: scores.values(metric, each_system) for metric in metrics}
    defined = [metric for metric in metrics if not np.isnan(values[metric.name]).any()]
    by_bootstrap = [metric for metric in defined if metric.bootstrap and rows >= MIN_BOOTSTRAP_ROWS]
    by_swaps = [metric for metric in defined if metric not in by_bootstrap]
    resampled = _repeat(scores, by_bootstrap, partial(_paired_resamples, rows=rows))
    swapped = _repeat(scores, by_swaps, partial(_random_swaps, rows=rows))
    return {
        metric.name: _by_bootstrap(values[metric.name], *resampled[metric.name])
        if metric in by_bootstrap
        else _by_randomisation(values[metric.name], *swapped[metric.name])
        for metric in defined
    }


def _paired_statistics(metric: Metric, first: Outputs, second: Outputs, both: Outputs) -> RowStatistics | None:
    """Return the statistics of the first system's rows, then of the second's, [2n, s].

    Each system's statistics are computed alone, as when it is scored alone. Where distinct items are counted they are
    computed together, so that an n-gram or a text has the same column for both systems.
    """
    if not metric.bootstrap:
        return metric.statistics(both)
    alone = [rows for outputs in (first, second) if (rows := metric.statistics(outputs)) is not None]
    return np.vstack(alone) if len(alone) == 2 else None


def _repeat(scores: RowScores, metrics: Sequence[Metric], draw: Draw) -> dict[str, list[np.ndarray]]:
    """Return each metric's values on RESAMPLES draws, one array per weighting; draws are made in blocks."""
    rng = np.random.default_rng(0)
    widest = max([2 * scores.rows, *(scores.num_statistics(metric) for metric in metrics)])
    block = max(1, MAX_CELLS // widest)
    drawn: dict[str, list[list[np.ndarray]]] = {metric.name: [] for metric in metrics}
    for start in range(0, RESAMPLES if metrics else 0, block):
        weightings = draw(rng, min(block, RESAMPLES - start))
        for metric in metrics:
            drawn[metric.name].append([scores.values(metric, weights_BN) for weights_BN in weightings])
    return {name: [np.concatenate(parts) for parts in zip(*blocks, strict=True)] for name, blocks in drawn.items()}


def _resamples(rng: np.random.Generator, size: int, rows: int) -> np.ndarray:
    """Draw `rows` rows with replacement, `size` times: how often each row is drawn, [size, rows]."""
    draws = rng.integers(rows, size=(size, rows))
    return np.stack([np.bincount(draw, minlength=rows) for draw in draws]).astype(float)


def _paired_resamples(rng: np.random.Generator, size: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the same resamples as weights on the first and on the second system's rows, [size, 2 * rows] each."""
    weights = _resamples(rng, size, rows)
    return np.hstack([weights, np.zeros_like(weights)]), np.hstack([np.zeros_like(weights), weights])


def _random_swaps(rng: np.random.Generator, size: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the two systems after swapping their outputs in random rows, as weights, [size, 2 * rows] each."""
    kept = rng.integers(2, size=(size, rows)).astype(float)
    return np.hstack([kept, 1 - kept]), np.hstack([1 - kept, kept])


def _by_bootstrap(values: np.ndarray, first: np.ndarray, second: np.ndarray) -> Difference:
    """Return the difference with the two-sided p-value that the share of resamples beyond 0 gives."""
    differences = (first - second)[~np.isnan(first - second)]
    differences[np.abs(differences) < ROUNDING] = 0.0
    one_sided = (1 + min((differences <= 0).sum(), (differences >= 0).sum())) / (1 + len(differences))
    p = float(min(1.0, 2 * one_sided))
    return Difference(float(values[0]), float(values[1]), _interval(differences), p, "paired bootstrap")


def _by_randomisation(values: np.ndarray, first: np.ndarray, second: np.ndarray) -> Difference:
    """Return the difference with p = share of random swaps that give a difference at least as large."""
    as_large = np.abs(first - second) >= abs(values[0] - values[1]) - ROUNDING
    p = float((1 + as_large.sum()) / (1 + len(as_large)))
    return Difference(float(values[0]), float(values[1]), None, p, "randomisation")


def _interval(drawn: np.ndarray) -> Interval | None:
    """Return the percentile interval of the values that are defined; None without any."""
    defined = drawn[~np.isnan(drawn)]
    if len(defined) == 0:
        return None
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
