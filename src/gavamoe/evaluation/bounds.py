"""Floors and ceilings of the metrics that know the right item and user: people's own texts, measured the same way.

| metric | ceiling | floor |
|---|---|---|
| item_identifiability, statement_precision, statement_recall | the reference | a reference about another item |
| user_identifiability | the reference | a reference by another user, about the same item |
| genericness | the reference | the most generic reference, for every row |

A value is read between its two bounds. The ceiling is not the largest possible value: a text copied from training
reviews exceeds it, and recall of the reference by itself is 1. Which row lends its reference to which other row depends
on the contents of the rows, not on their order.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gavamoe.evaluation.metrics import genericness, identifiability, statements
from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import Metrics, RowScores
from gavamoe.evaluation.score import PAIR_METRICS
from gavamoe.words import hash_text

ITEM_METRICS = (identifiability.METRICS[0], *statements.METRICS)
USER_METRICS = (identifiability.METRICS[1],)
FURTHER_ITEM_METRICS = (identifiability.FURTHER_METRICS[0], *statements.FURTHER_METRICS[:2])
FURTHER_USER_METRICS = (identifiability.FURTHER_METRICS[1],)
MIN_PARTNERS = 30  # rows that a floor needs
# Why a metric has no value although all its inputs are there.
NO_ROWS = {
    "item_identifiability": "no item of the rows has training texts",
    "user_identifiability": "no user of the rows has training texts",
    "statement_precision": "no text gives an opinion of a feature of an item with training texts",
    "statement_recall": "no reference gives an opinion of a feature",
    "genericness": "no text has two words",
}
# Metrics whose value in results is an object with value, floor and ceiling.
AS_OBJECTS = ("item_identifiability", "user_identifiability")


@dataclass(frozen=True)
class Bounds:
    """Floor and ceiling of a metric; None where it cannot be measured."""

    floor: float | None
    ceiling: float | None

    def to_dict(self) -> dict[str, float | None]:
        """Return the bounds as results list them."""
        return {"floor": self.floor, "ceiling": self.ceiling}


def measure_bounds(outputs: Outputs) -> dict[str, Bounds]:
    """Measure floors and ceilings with the references of n rows; empty without training texts or references.

    Args:
        outputs: of any system: only references, users, items and training texts are read.
    """
    has_reference = np.ones(len(outputs), bool) if outputs.has_reference is None else np.array(outputs.has_reference)
    if outputs.training is None or outputs.users is None or outputs.items is None or not has_reference.any():
        return {}
    of_item, of_user = (*ITEM_METRICS, *FURTHER_ITEM_METRICS), (*USER_METRICS, *FURTHER_USER_METRICS)
    own = replace(outputs, predictions=outputs.references)
    ceilings = RowScores(own, (*of_item, *of_user, *genericness.METRICS)).overall()
    texts = [" ".join(words) for words in outputs.references]
    keys = [f"{user}\n{text}" for user, text in zip(outputs.users, texts, strict=True)]
    everywhere = [0 if known else None for known in has_reference]
    another_item = partners(everywhere, outputs.items, keys)
    another_user = partners(_where(has_reference, outputs.items), outputs.users, keys)
    floors = _lent(outputs, another_item, of_item) | _lent(outputs, another_user, of_user)
    floors |= {"genericness": _most_generic(own)}
    return {name: Bounds(floors[name], ceilings[name]) for name in ceilings if ceilings[name] is not None}


def with_bounds(metrics: Metrics, bounds: dict[str, Bounds]) -> dict[str, Any]:
    """Return metrics as results list them: those of AS_OBJECTS become {"value", "floor", "ceiling"}."""
    nothing = Bounds(None, None)
    return {
        name: {"value": value, **bounds.get(name, nothing).to_dict()} if name in AS_OBJECTS else value
        for name, value in metrics.items()
    }


def plain_values(metrics: dict[str, Any]) -> Metrics:
    """Return metrics as results list them with the value alone: the inverse of `with_bounds`."""
    return {name: value["value"] if isinstance(value, dict) else value for name, value in metrics.items()}


def reasons(outputs: Outputs, metrics: Metrics, no_training: str) -> dict[str, str]:
    """Say why metrics of the right item and user are None.

    Args:
        outputs: what was scored.
        metrics: the values.
        no_training: the reason if there are no training texts.
    """
    found = {}
    for metric in PAIR_METRICS:
        name, training = metric.name, outputs.training
        if metrics.get(name) is not None or name not in metrics:
            continue
        if training is None:
            found[name] = no_training
        elif (outputs.users if name.startswith("user") else outputs.items) is None:
            found[name] = f"no row has {'a user' if name.startswith('user') else 'an item'}"
        elif name.startswith("statement") and not training.has_statements:
            found[name] = "the training data has no features"
        else:
            found[name] = NO_ROWS[name]
    return found


def partners(groups: Sequence[Hashable | None], labels: Sequence[Hashable | None], keys: Sequence[str]) -> np.ndarray:
    """Give each row a partner: a row of the same group with another label.

    The rows of a group are put in an order that depends on labels and keys alone, label by label, and shifted by the
    size of the largest label. Then no row meets its own label, unless one label has more than half of the group.

    Args:
        groups: the group of each row, [n]; None for a row that is and gets no partner.
        labels: the label of each row, [n].
        keys: the content of each row, [n].

    Returns:
        The number of each row's partner, [n]; -1 where there is none.
    """
    rows_of: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        if group is not None and labels[row] is not None:
            rows_of.setdefault(group, []).append(row)
    found = np.full(len(groups), -1)
    for rows in rows_of.values():
        rows.sort(key=lambda row: (hash_text(str(labels[row])), str(labels[row]), hash_text(keys[row]), keys[row]))
        _, sizes = np.unique([str(labels[row]) for row in rows], return_counts=True)
        shift = int(sizes.max())
        for place, row in enumerate(rows):
            partner = rows[(place + shift) % len(rows)]
            found[row] = partner if labels[partner] != labels[row] else -1
    return found


def _lent(outputs: Outputs, partner: np.ndarray, metrics: Sequence[Metric]) -> Metrics:
    """Score the reference of each row's partner as if it were written for the row; rows without one do not count.

    With fewer than MIN_PARTNERS partners, every metric is None: floors of 3 and of 16 rows differed by .2.
    """
    if (partner >= 0).sum() < MIN_PARTNERS:
        return dict.fromkeys(metric.name for metric in metrics)
    predictions = [outputs.references[other] if other >= 0 else [] for other in partner.tolist()]
    return RowScores(replace(outputs, predictions=predictions), metrics).weighted((partner >= 0).astype(float))


def _most_generic(own: Outputs) -> float | None:
    """Return the genericness of the most generic reference that has at least five words."""
    shares = genericness.generic_shares(own)
    long_enough = np.array([len(words) >= 5 for words in own.references])
    return float(shares[long_enough, 0].max()) if shares is not None and long_enough.any() else None


def _where(known: np.ndarray, values: Sequence[str | None]) -> list[str | None]:
    return [value if is_known else None for value, is_known in zip(values, known, strict=True)]
