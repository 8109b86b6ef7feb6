"""How sure a figure is, and whether two systems differ: over the rows they were scored on.

A confidence interval is the percentile bootstrap over rows (Efron 1979), and a difference between two systems on the
same rows is tested by the paired bootstrap (Koehn 2004): a resample draws the same rows of both. Where distinct things
are counted (USR, FCR, Distinct, DIV) a resample, which repeats rows, says nothing of the sample. There no interval is
given, and a difference is tested by approximate randomisation (Noreen 1989): the two systems' outputs change places in
a random half of the rows, which should rarely make so large a difference when the systems are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric, Rows
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import RowScores

RESAMPLES = 1000
CONFIDENCE = 0.95
ROUNDING = 1e-9  # differences below it come from the order of summation, not from the systems
MOST_CELLS = 20_000_000  # of a block of weights or totals: 160 MB

Interval = tuple[float, float]
# From a generator and a number of draws to one or two weightings of the rows, [draws, rows] each.
Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class Difference:
    """One metric of two systems on the same rows.

    Args:
        first, second: the values.
        interval: of first - second; None where distinct things are counted.
        p: two-sided; never below 1 / (resamples + 1).
        test: how p was found.
    """

    first: float
    second: float
    interval: Interval | None
    p: float
    test: Literal["paired bootstrap", "randomisation"]


def confidence_intervals(scores: RowScores, seed: int = 0) -> dict[str, Interval]:
    """Bounds between which 95 % of the resamples lie, per metric that a resample estimates and the outputs define."""
    metrics = [metric for metric in scores.metrics if metric.resamples and scores.knows(metric)]
    drawn = _repeat(scores, metrics, lambda rng, size: (_resamples(rng, size, scores.rows),), seed)
    intervals = {name: _interval(values) for name, (values,) in drawn.items()}
    return {name: interval for name, interval in intervals.items() if interval is not None}


def compare(first: Outputs, second: Outputs, metrics: Sequence[Metric], seed: int = 0) -> dict[str, Difference]:
    """The difference of two systems on the same rows, per metric that is defined for both.

    Args:
        first, second: row i of both is the same (user, item) pair.
        metrics: which ones.
        seed: of the resamples.

    Raises:
        DataError: the systems have different numbers of rows.
    """
    rows = len(first)
    together = first.followed_by(second)
    scores = RowScores(together, metrics, lambda metric: _statistics(metric, first, second, together))
    everything, nothing = np.ones((1, rows)), np.zeros((1, rows))
    once = np.vstack([np.hstack([everything, nothing]), np.hstack([nothing, everything])])
    values = {metric.name: scores.values(metric, once) for metric in metrics}
    known = [metric for metric in metrics if not np.isnan(values[metric.name]).any()]
    resampled = _repeat(scores, [m for m in known if m.resamples], partial(_same_rows_of_both, rows=rows), seed)
    swapped = _repeat(scores, [m for m in known if not m.resamples], partial(_swapped_rows, rows=rows), seed)
    return {
        metric.name: _by_bootstrap(values[metric.name], *resampled[metric.name])
        if metric.resamples
        else _by_randomisation(values[metric.name], *swapped[metric.name])
        for metric in known
    }


def _statistics(metric: Metric, first: Outputs, second: Outputs, together: Outputs) -> Rows | None:
    """The rows of both systems, one after the other, each as it is scored alone.

    Where distinct things are counted, one matrix of both, so that an n-gram or a text has the same column in either.
    """
    if not metric.resamples:
        return metric.statistics(together)
    alone = [rows for outputs in (first, second) if (rows := metric.statistics(outputs)) is not None]
    return np.vstack(alone) if len(alone) == 2 else None


def _repeat(scores: RowScores, metrics: Sequence[Metric], draw: Draw, seed: int) -> dict[str, list[np.ndarray]]:
    """Per metric and weighting of a draw, the values on RESAMPLES draws, taken in blocks that fit memory."""
    rng = np.random.default_rng(seed)
    widest = max([2 * scores.rows, *(scores.width(metric) for metric in metrics)])
    block = max(1, MOST_CELLS // widest)
    drawn: dict[str, list[list[np.ndarray]]] = {metric.name: [] for metric in metrics}
    for start in range(0, RESAMPLES if metrics else 0, block):
        weightings = draw(rng, min(block, RESAMPLES - start))
        for metric in metrics:
            drawn[metric.name].append([scores.values(metric, weights_BN) for weights_BN in weightings])
    return {name: [np.concatenate(parts) for parts in zip(*blocks, strict=True)] for name, blocks in drawn.items()}


def _resamples(rng: np.random.Generator, size: int, rows: int) -> np.ndarray:
    """How often each row is drawn when as many rows are drawn with replacement, [size, rows]."""
    draws = rng.integers(rows, size=(size, rows))
    return np.stack([np.bincount(draw, minlength=rows) for draw in draws]).astype(float)


def _same_rows_of_both(rng: np.random.Generator, size: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    weights = _resamples(rng, size, rows)
    return np.hstack([weights, np.zeros_like(weights)]), np.hstack([np.zeros_like(weights), weights])


def _swapped_rows(rng: np.random.Generator, size: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    stays = rng.integers(2, size=(size, rows)).astype(float)
    return np.hstack([stays, 1 - stays]), np.hstack([1 - stays, stays])


def _by_bootstrap(values: np.ndarray, first: np.ndarray, second: np.ndarray) -> Difference:
    gaps = (first - second)[~np.isnan(first - second)]
    gaps[np.abs(gaps) < ROUNDING] = 0.0
    one_sided = (1 + min((gaps <= 0).sum(), (gaps >= 0).sum())) / (1 + len(gaps))
    p = float(min(1.0, 2 * one_sided))
    return Difference(float(values[0]), float(values[1]), _interval(gaps), p, "paired bootstrap")


def _by_randomisation(values: np.ndarray, first: np.ndarray, second: np.ndarray) -> Difference:
    as_large = np.abs(first - second) >= abs(values[0] - values[1]) - ROUNDING
    p = float((1 + as_large.sum()) / (1 + len(as_large)))
    return Difference(float(values[0]), float(values[1]), None, p, "randomisation")


def _interval(drawn: np.ndarray) -> Interval | None:
    defined = drawn[~np.isnan(drawn)]
    if len(defined) == 0:
        return None
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
