"""A user's history in a request: rated items of a user whom the run may not know, checked and turned into ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from gavamoe.data.catalog import Catalog
from gavamoe.errors import DataError


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
    def from_entries(cls, entries: Sequence[Mapping[str, Any]], catalog: Catalog) -> UserHistory:
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


def _number(value: Any) -> float | None:
    """Return a finite number or None; a number may be written as text, as in CSV."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < float("inf") else None
