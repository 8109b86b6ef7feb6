"""Statements: whether the opinions that a text gives of features are those that people gave of the item.

A statement is a (feature, polarity) pair, such as (pool, -1). Against the training reviews of the item it is supported
(some review states it), contradicted (reviews state only the opposite) or unmentioned (no review gives an opinion of
the feature).

statement_precision = supported statements / statements
statement_recall = statements of the reference that the text makes too / statements of the reference
"""

from __future__ import annotations

from functools import partial

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric, ratio, ratio_of
from gavamoe.evaluation.outputs import Outputs

SOURCE = "(feature, polarity) pairs of the feature extractor"
SUPPORTED, CONTRADICTED, UNMENTIONED, HIT, OF_REFERENCE, JUDGED = range(6)


def statement_counts(outputs: Outputs) -> np.ndarray | None:
    """Count each text's statements against the item's training reviews and against the reference.

    Returns:
        Supported, contradicted, unmentioned statements, statements of the reference that are hit, statements of the
        reference, and whether the text is judged, [n, 6]. A text about an item without training reviews is not: its
        first three counts are 0. None without training texts or features.
    """
    training = outputs.training
    if training is None or outputs.items is None or not training.has_statements:
        return None
    stated = training.statements(outputs.plain_predictions)
    of_references = training.statements(outputs.plain_references)
    counts = np.zeros((len(outputs), 6))
    for row, (item, made, true) in enumerate(zip(outputs.items, stated, of_references, strict=True)):
        known = None if item is None else training.item_statements.get(item)
        if known is not None:
            for feature, polarity in made:
                polarities = known.get(feature, ())
                kind = SUPPORTED if polarity in polarities else CONTRADICTED if polarities else UNMENTIONED
                counts[row, kind] += 1
        counts[row, HIT:] = len(made & true), len(true), known is not None
    return counts


def _share(totals: np.ndarray, rows: np.ndarray, kind: int) -> np.ndarray:
    """Return the share of one kind among the statements that were judged, [b]; NaN without statements."""
    return ratio(totals[:, kind], totals[:, :HIT].sum(1))


METRICS = (
    Metric("statement_precision", True, SOURCE, statement_counts, partial(_share, kind=SUPPORTED)),
    Metric("statement_recall", True, SOURCE, statement_counts, ratio_of(HIT, OF_REFERENCE)),
)
FURTHER_METRICS = (
    Metric("statement_contradicted", False, SOURCE, statement_counts, partial(_share, kind=CONTRADICTED)),
    Metric("statement_unmentioned", False, SOURCE, statement_counts, partial(_share, kind=UNMENTIONED)),
    Metric(
        "statements per text",
        None,
        SOURCE,
        statement_counts,
        lambda totals, rows: ratio(totals[:, :HIT].sum(1), totals[:, JUDGED]),
    ),
)
