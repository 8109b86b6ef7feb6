"""Histories: the rated items of users in a request, checked, turned into ids and into estimates (`fold_in`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from gavamoe.data.catalog import Catalog
from gavamoe.data.readers.reading import shortened
from gavamoe.errors import DataError
from gavamoe.preference.fold_in import UserEstimate, infer_user
from gavamoe.preference.model import PreferenceModel


@dataclass(frozen=True)
class UserHistory:
    """The rated items of one user.

    Args:
        item_ids: of the items; 0 for an item without a training review.
        levels: rating levels 1..R, one for each item.
        ignored: names of the items without a training review.
        texts: what the user wrote about each item, None for nothing; empty without any text. Stage 1 ignores them; a
            prompt in words quotes them (`gavamoe.explainer.guests`).
    """

    item_ids: tuple[int, ...]
    levels: tuple[int, ...]
    ignored: tuple[str, ...]
    texts: tuple[str | None, ...] = ()

    @classmethod
    def from_entries(cls, entries: Sequence[Mapping[str, Any]], catalog: Catalog) -> UserHistory:
        """Read entries with an item, a rating on the scale of the data source, and perhaps a text.

        Raises:
            DataError: an entry lacks an item or a rating, a rating is off the scale, a text is none, or the run knows
                none of the items; the message names the entry.
        """
        names: list[str] = []
        ratings: list[float] = []
        texts: list[str | None] = []
        low, high = catalog.scale.bounds
        for number, entry in enumerate(entries, start=1):
            if entry.get("item") in (None, ""):
                raise DataError(f"history, entry {number}: no item")
            name, rating = str(entry["item"]), _number(entry.get("rating"))
            place = f"history, entry {number} (item '{shortened(name)}')"
            if rating is None:
                raise DataError(f"{place}: no rating that is a number")
            if not low <= rating <= high:
                raise DataError(f"{place}: rating {rating:g} is off the scale {catalog.scale}")
            text = entry.get("text")
            if not isinstance(text, str | None):
                raise DataError(f"{place}: the text is not a string")
            names.append(name)
            ratings.append(rating)
            texts.append(text)
        history = cls.from_columns(names, pl.Series(ratings, dtype=pl.Float64), texts, catalog)
        if names and not any(history.item_ids):
            raise DataError(f"history: none of its {len(names)} items has a training review; check the spelling")
        return history

    @classmethod
    def from_columns(
        cls, names: Sequence[str], ratings: pl.Series, texts: Sequence[str | None], catalog: Catalog
    ) -> UserHistory:
        """Return a history of items, their ratings on the scale of the data source, and texts (none, or one each).

        An item that occurs more than once counts once, with its last rating and text, like a repeated review in data.
        """
        last = sorted({name: place for place, name in enumerate(names)}.values())
        names, ratings = [names[place] for place in last], ratings[last]
        texts = [texts[place] for place in last] if texts else texts
        levels = catalog.scale.to_level(ratings).to_list()
        item_ids = tuple(catalog.item_id(name) for name in names)
        ignored = tuple(name for name, item in zip(names, item_ids, strict=True) if item == 0)
        return cls(item_ids, tuple(levels), ignored, tuple(texts) if any(texts) else ())

    @property
    def rated(self) -> tuple[tuple[int, int], ...]:
        """What the estimate depends on: id and level of the known items, in an order of their own."""
        return tuple(sorted(pair for pair in zip(self.item_ids, self.levels, strict=True) if pair[0]))

    @property
    def written(self) -> tuple[tuple[int, int, str], ...]:
        """What prompts may quote: id, level and text of the known items that have a text, in an order of their own."""
        entries = zip(self.item_ids, self.levels, self.texts, strict=True) if self.texts else ()
        return tuple(sorted((item, level, text) for item, level, text in entries if item and text))

    def estimate(self, preference: PreferenceModel) -> UserEstimate:
        """Estimate the user from the ratings."""
        return infer_user(preference, self.item_ids, self.levels)


# Entries with the keys item, rating and perhaps text, or what was read of them.
History = Sequence[Mapping[str, Any]] | UserHistory


@dataclass(frozen=True)
class Guest:
    """A user whom the run does not know, with a history."""

    history: UserHistory
    estimate: UserEstimate


def read_history(history: History, catalog: Catalog) -> UserHistory:
    """Read a history, unless it has been read.

    Raises:
        DataError: an entry is invalid (`UserHistory.from_entries`).
    """
    return history if isinstance(history, UserHistory) else UserHistory.from_entries(history, catalog)


def estimate_guests(
    histories: Sequence[History | None], catalog: Catalog, preference: PreferenceModel
) -> tuple[list[Guest], np.ndarray]:
    """Estimate a guest for each distinct history.

    Args:
        histories: N histories; None where the user of the pair is to be looked up instead.
        catalog: names and rating scale of the run.
        preference: stage 1.

    Returns:
        The guests, and the guest's id in `with_guests` for each history, [N]; 0, the unknown user, for an empty
        history and -1 for None.
    """
    number: dict[Any, int] = {}
    guests: list[Guest] = []
    ids = np.full(len(histories), -1, dtype=np.int64)
    for row, entries in enumerate(histories):
        if entries is None:
            continue
        history = read_history(entries, catalog)
        key = (history.rated, history.written)
        if history.rated and key not in number:
            number[key] = len(number)
            guests.append(Guest(history, history.estimate(preference)))
        ids[row] = catalog.n_users + 1 + number[key] if history.rated else 0
    return guests, ids


def _number(value: Any) -> float | None:
    """Return a finite number or None; a number may be written as text, as in CSV."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < float("inf") else None
