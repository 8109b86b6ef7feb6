"""`Metric`: additive statistics of each row, and the value that follows from their sums.

    value = f(sum over rows of weight x statistics, sum of weights)

Almost every metric of the field has this form. BLEU follows from summed n-gram matches, ROUGE and RMSE from summed row
scores, USR and Distinct from how often each text or n-gram occurs, DIV from how often each feature does. So one matrix
product gives a metric on any weighting of the rows: all rows, one group, or a thousand bootstrap resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import sparse

from gavamoe.evaluation.outputs import Outputs

# Statistics of each row, [n, s]; sparse where the s columns are distinct texts, n-grams or features.
RowStatistics: TypeAlias = "np.ndarray | sparse.csr_array"
# Maps summed statistics [b, s] and row counts [b] to values [b].
Value: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """One metric of a system's outputs.

    Args:
        name: its key in results, as the field's tables write it.
        higher_is_better: None where neither direction is better.
        source: the paper or package that defines it.
        statistics: computes the statistics of each row, [n, s]; None when the outputs lack a column that the metric
            needs. Metrics of one family share the function, which then runs once.
        value: maps summed statistics [b, s] and row counts [b] to values [b]; NaN where the metric is not defined.
        requires_reference: whether rows without a reference text are left out; False for rating metrics.
        bootstrap: whether a bootstrap resample estimates the metric. False where distinct items are counted: a resample
            repeats rows, so it always looks less diverse than the sample.
    """

    name: str
    higher_is_better: bool | None
    source: str
    statistics: Callable[[Outputs], RowStatistics | None]
    value: Value
    requires_reference: bool = True
    bootstrap: bool = True


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return numerator / denominator elementwise; NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator != 0, numerator / denominator, np.nan)


def ratio_of(numerator: int, denominator: int, factor: float = 1) -> Value:
    """Return the value function: factor x ratio of two summed statistics, given by their columns."""
    return lambda totals, rows: factor * ratio(totals[:, numerator], totals[:, denominator])


def mean_of(column: int, factor: float = 1) -> Value:
    """Return the value function: factor x mean of a statistic over rows."""
    return lambda totals, rows: factor * totals[:, column] / rows


def count_matrix(bags: Sequence[Iterable[Hashable]], columns: Sequence[Hashable] = ()) -> sparse.csr_array:
    """Count how often each element occurs in each row.

    Args:
        bags: the elements of each row, [n].
        columns: elements that get the first columns, in this order; other elements follow in order of appearance.

    Returns:
        A sparse matrix of counts, [n, distinct elements].
    """
    place: dict[Hashable, int] = {element: column for column, element in enumerate(columns)}
    indices: list[int] = []
    ends = [0]
    for bag in bags:
        indices.extend(place.setdefault(element, len(place)) for element in bag)
        ends.append(len(indices))
    return sparse.csr_array((np.ones(len(indices)), indices, ends), shape=(len(bags), len(place)))
