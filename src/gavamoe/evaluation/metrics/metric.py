"""What a metric is: numbers of each row that add up, and the value that follows from their sum.

Almost every metric of the field has this form. BLEU follows from summed n-gram matches, ROUGE and RMSE from summed row
scores, USR and Distinct from how often each text or n-gram occurs, DIV from how often each feature does. So one matrix
product gives a metric on any weighting of the rows: all of them, one group, or a thousand bootstrap resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import sparse

from gavamoe.evaluation.outputs import Outputs

# Statistics of each row, [n, s]; sparse where s counts texts, n-grams or features.
Rows: TypeAlias = "np.ndarray | sparse.csr_array"


@dataclass(frozen=True)
class Metric:
    """One figure of merit of a system's outputs.

    Args:
        name: its key in results, as the field's tables write it.
        higher_is_better: None where neither direction is better by itself.
        source: who defined it.
        statistics: the numbers [n, s] of each row of the outputs; None when the outputs lack what the metric needs.
            Metrics of one family share the function, which then runs once.
        value: from totals [b, s] and row counts [b] to values [b]; NaN where the metric is not defined.
        of_texts: whether it looks at texts, and so leaves out the rows that have no reference text.
        resamples: whether a bootstrap resample estimates it. Not where distinct things are counted: a resample repeats
            rows, so it always looks less diverse than the sample.
    """

    name: str
    higher_is_better: bool | None
    source: str
    statistics: Callable[[Outputs], Rows | None]
    value: Callable[[np.ndarray, np.ndarray], np.ndarray]
    of_texts: bool = True
    resamples: bool = True


def ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """Elementwise over / under; NaN where `under` is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(under != 0, over / under, np.nan)


def occurrences(bags: Sequence[Iterable[Hashable]], columns: Sequence[Hashable] = ()) -> sparse.csr_array:
    """How often each thing occurs in each row, [n, things]: `columns` first, in their order, then as they are met."""
    place: dict[Hashable, int] = {thing: column for column, thing in enumerate(columns)}
    indices: list[int] = []
    ends = [0]
    for bag in bags:
        indices.extend(place.setdefault(thing, len(place)) for thing in bag)
        ends.append(len(indices))
    return sparse.csr_array((np.ones(len(indices)), indices, ends), shape=(len(bags), len(place)))
