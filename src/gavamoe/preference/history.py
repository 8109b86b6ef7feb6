"""Histories: the rated items of users in a request, checked, turned into ids and into estimates (`fold_in`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from gavamoe.data.catalog import Catalog
from gavamoe.errors import DataError
from gavamoe.preference.fold_in import UserEstimate, infer_user
from gavamoe.preference.model import PreferenceModel

History = Sequence[Mapping[str, Any]]  # entries with the keys item and rating; other keys are ignored


@dataclass(frozen=True)
class UserHistory:
    """The rated items of one user.

    Args:
        item_ids: of the items; 0 for an item without a training review.
        levels: rating levels 1..R, one for each item.
        ignored: names of the items without a training review.
    """

    item_ids: tuple[int, ...]
    levels: tuple[int, ...]
    ignored: tuple[str, ...]

    @classmethod
    def from_entries(cls, entries: History, catalog: Catalog) -> UserHistory:
        """Read entries with an item and a rating on the scale of the data source.

        Raises:
            DataError: an entry lacks an item or a rating, a rating is off the scale, or the run knows none of the
                items; the message names the entry.
        """
        names, levels = [], []
        for number, entry in enumerate(entries, start=1):
            if entry.get("item") in (None, ""):
                raise DataError(f"history, entry {number}: no item")
            name, rating = str(entry["item"]), _number(entry.get("rating"))
            if rating is None:
                raise DataError(f"history, entry {number} (item '{name}'): no rating that is a number")
            low, high = catalog.scale.values[0], catalog.scale.values[-1]
            if not low <= rating <= high:
                raise DataError(
                    f"history, entry {number} (item '{name}'): rating {rating:g} is off the scale {catalog.scale}"
                )
            names.append(name)
            levels.append(int(catalog.scale.to_level(pl.Series([rating]))[0]))
        item_ids = tuple(catalog.item_id(name) for name in names)
        if names and not any(item_ids):
            raise DataError(f"none of the {len(names)} items of the history has a training review; check the spelling")
        ignored = tuple(name for name, item in zip(names, item_ids, strict=True) if item == 0)
        return cls(item_ids, tuple(levels), ignored)

    def estimate(self, preference: PreferenceModel) -> UserEstimate:
        """Estimate the user from the ratings."""
        return infer_user(preference, self.item_ids, self.levels)


def estimate_guests(
    histories: Sequence[History | None], catalog: Catalog, preference: PreferenceModel
) -> tuple[list[UserEstimate], np.ndarray]:
    """Estimate a guest for each distinct history.

    Args:
        histories: N histories; None where the user of the pair is to be looked up instead.
        catalog: names and rating scale of the run.
        preference: stage 1.

    Returns:
        The estimates, and the guest's id in `with_guests` for each history, [N]; 0, the unknown user, for an empty
        history and -1 for None.
    """
    number: dict[tuple[tuple[int, int], ...], int] = {}
    estimates: list[UserEstimate] = []
    ids = np.full(len(histories), -1, dtype=np.int64)
    for row, entries in enumerate(histories):
        if entries is None:
            continue
        history = UserHistory.from_entries(entries, catalog)
        rated = ((item, level) for item, level in zip(history.item_ids, history.levels, strict=True) if item)
        key = tuple(sorted(rated))
        if key and key not in number:
            number[key] = len(number)
            estimates.append(history.estimate(preference))
        ids[row] = catalog.n_users + 1 + number[key] if key else 0
    return estimates, ids


def _number(value: Any) -> float | None:
    """Return a finite number or None; a number may be written as text, as in CSV."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < float("inf") else None
