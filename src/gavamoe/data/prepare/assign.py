"""Assign to every review: kept or dropped, split, user id, item id and rating level, using a few bytes per row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from gavamoe.data.catalog import encode_names
from gavamoe.data.prepare.filters import k_core, latest_of_each_pair
from gavamoe.data.prepare.options import PrepareOptions
from gavamoe.data.prepare.splits import ANONYMOUS_CODE, TRAIN, split_rows
from gavamoe.data.readers.canonical import ANONYMOUS_PREFIX
from gavamoe.data.scale import RatingScale
from gavamoe.errors import DataError

REPEATED = "repeated user-item pairs"


@dataclass(frozen=True)
class Assignment:
    """The assignment of every review.

    Args:
        rows: one row per ingested review: keep, user_id, item_id, level, split (a position in SPLITS; -1 if dropped).
        users: user_id, user, n_train, mean_rating of the known users.
        items: item_id, item, n_train, mean_rating of the known items.
        dropped: number of reviews that each filter dropped.
        repeated: number of reviews with a later review of the same user and item that passes the filters too.
    """

    rows: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame
    dropped: dict[str, int]
    repeated: int


def assign_rows(
    keys: pl.DataFrame,
    scale: RatingScale,
    options: PrepareOptions,
    text_filters: dict[str, np.ndarray],
    unparsed_time: str = "",
    ambiguous_time: str = "",
) -> Assignment:
    """Filter and split the reviews, and give the users and items with a training record their ids.

    Args:
        keys: user, item, rating, timestamp, split of every ingested review, [n] rows.
        scale: the rating scale.
        options: the split method, its seed, and k of the k-core.
        text_filters: by filter name, which reviews pass, bool [n].
        unparsed_time: a time in no known format, with file and line, for the message that times are missing.
        ambiguous_time: a time whose day and month cannot be told apart, for the same message.

    Raises:
        DataError: no review passes the filters, or the split is impossible.
    """
    levels = scale.to_level(keys["rating"])
    user_names, user = _codes(keys["user"])
    item_names, item = _codes(keys["item"])
    keep = np.ones(keys.height, dtype=bool)
    dropped: dict[str, int] = {}
    for name, passes in text_filters.items():
        dropped[name] = int((keep & ~passes).sum())
        keep &= passes
    repeated = keep & ~latest_of_each_pair(user, item, keys["timestamp"], keep)
    if options.split != "column":  # a published split is kept row for row, so that results on it are comparable
        dropped[REPEATED] = int(repeated.sum())
        keep &= ~repeated
    k = options.k_core
    core = k_core(user, item, keep, k) if k > 1 else keep
    dropped |= {f"{k}-core": int((keep & ~core).sum())} if k > 1 else {}
    if not core.any():
        counts = ", ".join(f"{count:,} ({name})" for name, count in dropped.items() if count)
        raise DataError(f"no review is left after the filters; dropped were {counts}")
    anonymous = user_names.str.starts_with(ANONYMOUS_PREFIX).to_numpy()
    named = np.where(anonymous[user], ANONYMOUS_CODE, user)
    coded = keys.select("timestamp", "split").with_columns(user=named, item=item).filter(core)
    codes = np.full(keys.height, -1, dtype=np.int8)
    codes[core] = split_rows(coded, options.split, options.seed, unparsed_time, ambiguous_time)
    user_ids, users = _assign_ids("user", user_names, user[codes == TRAIN], keys["rating"].filter(codes == TRAIN))
    item_ids, items = _assign_ids("item", item_names, item[codes == TRAIN], keys["rating"].filter(codes == TRAIN))
    rows = {"keep": core, "user_id": user_ids[user], "item_id": item_ids[item], "level": levels, "split": codes}
    return Assignment(pl.DataFrame(rows), users, items, dropped, int(repeated.sum()))


def _codes(names: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """Return the sorted distinct names, and the position of each row's name among them, from 0."""
    distinct = names.unique().sort()
    return distinct, encode_names(names, distinct).to_numpy() - 1


def _assign_ids(column: str, names: pl.Series, train: np.ndarray, rating: pl.Series) -> tuple[np.ndarray, pl.DataFrame]:
    """Assign ids 1..N, in the order of the names, to the names with a training record.

    Args:
        column: user or item.
        names: the sorted distinct names.
        train: position in `names` of each training record, [n_train].
        rating: rating of each training record, [n_train].

    Returns:
        The id of each name (0 without a training record, and for anonymous users), and the table of those with an id.
    """
    counts = np.bincount(train, minlength=len(names))
    sums = np.bincount(train, weights=rating.to_numpy(), minlength=len(names))
    known = (counts > 0) & ~names.str.starts_with(ANONYMOUS_PREFIX).to_numpy()
    ids = np.where(known, np.cumsum(known), 0).astype(np.int32)
    table = {
        f"{column}_id": ids[known],
        column: names.filter(pl.Series(known)),
        "n_train": counts[known].astype(np.int32),
        "mean_rating": (sums[known] / counts[known]).astype(np.float32),
    }
    return ids, pl.DataFrame(table)
