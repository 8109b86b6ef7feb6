"""Deciding, from a few bytes a row: which interactions stay, in which split, under which ids and levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from gavamoe.data.ids import ids_of
from gavamoe.data.prepare.filters import k_core, latest_of_each_pair
from gavamoe.data.prepare.splits import NOBODY, TRAIN, split_rows
from gavamoe.data.readers.canonical import ANONYMOUS
from gavamoe.data.scale import RatingScale
from gavamoe.errors import DataError


@dataclass(frozen=True)
class Assignment:
    """What was decided.

    Attributes:
        rows: one row per ingested review: keep, user_id, item_id, level, split (a place in SPLITS; -1 when dropped).
        users: user_id, user, n_train, mean_rating of the known users.
        items: item_id, item, n_train, mean_rating of the known items.
        dropped: how many reviews each filter dropped.
        repeated: how many reviews are of a user and item that have a later one.
    """

    rows: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame
    dropped: dict[str, int]
    repeated: int


def assign_rows(
    keys: pl.DataFrame,
    scale: RatingScale,
    split: str,
    seed: int,
    k: int = 0,
    wanted: dict[str, np.ndarray] | None = None,
    unread_time: str = "",
) -> Assignment:
    """Decide on every ingested review.

    Args:
        keys: user, item, rating, timestamp, split of every ingested review.
        scale: the rating scale.
        split: the split method.
        seed: of the random split.
        k: reviews that every user and item must have (k-core); 0 for all.
        wanted: filters on the texts by name: which reviews pass, bool [n].
        unread_time: a time that was not understood, and where it is, for the message that a time is missing.

    Raises:
        DataError: no review passes the filters, or the split cannot be made.
    """
    levels = scale.to_level(keys["rating"])
    user_names, user = _codes(keys["user"])
    item_names, item = _codes(keys["item"])
    latest = latest_of_each_pair(user, item, keys["timestamp"])
    keep = np.ones(keys.height, dtype=bool)
    dropped: dict[str, int] = {}
    # A published split is kept row for row, so that numbers on it can be compared.
    passing = dict(wanted or {}) if split == "column" else {"repeated user-item pairs": latest, **(wanted or {})}
    for name, passes in passing.items():
        dropped[name] = int((keep & ~passes).sum())
        keep &= passes
    core = k_core(user, item, keep, k) if k > 1 else keep
    dropped |= {f"{k}-core": int((keep & ~core).sum())} if k > 1 else {}
    if not core.any():
        raise DataError(f"no review is left after the filters: they dropped {dropped}")
    anonymous = user_names.str.starts_with(ANONYMOUS).to_numpy()
    named = np.where(anonymous[user], NOBODY, user)
    coded = keys.select("timestamp", "split").with_columns(user=named, item=item).filter(core)
    codes = np.full(keys.height, -1, dtype=np.int8)
    codes[core] = split_rows(coded, split, seed, unread_time)
    user_ids, users = _known("user", user_names, user[codes == TRAIN], keys["rating"].filter(codes == TRAIN))
    item_ids, items = _known("item", item_names, item[codes == TRAIN], keys["rating"].filter(codes == TRAIN))
    rows = {"keep": core, "user_id": user_ids[user], "item_id": item_ids[item], "level": levels, "split": codes}
    return Assignment(pl.DataFrame(rows), users, items, dropped, int((~latest).sum()))


def _codes(names: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """Return the sorted distinct names, and the place of each row's name among them, from 0."""
    distinct = names.unique().sort()
    return distinct, ids_of(names, distinct).to_numpy() - 1


def _known(column: str, names: pl.Series, train: np.ndarray, rating: pl.Series) -> tuple[np.ndarray, pl.DataFrame]:
    """Give ids 1..N, in the order of the names, to those with a training record.

    Args:
        column: user or item.
        names: the sorted distinct names.
        train: place in `names` of each training record, [n_train].
        rating: of each training record, [n_train].

    Returns:
        The id of each name (0 without a training record, and for anonymous users), and the table of the known ones.
    """
    counts = np.bincount(train, minlength=len(names))
    sums = np.bincount(train, weights=rating.to_numpy(), minlength=len(names))
    known = (counts > 0) & ~names.str.starts_with(ANONYMOUS).to_numpy()
    ids = np.where(known, np.cumsum(known), 0).astype(np.int32)
    table = {
        f"{column}_id": ids[known],
        column: names.filter(pl.Series(known)),
        "n_train": counts[known].astype(np.int32),
        "mean_rating": (sums[known] / counts[known]).astype(np.float32),
    }
    return ids, pl.DataFrame(table)
