"""Deciding, from a few bytes a row: which interactions stay, in which split, under which ids and levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from gavamoe.data.ids import ids_of
from gavamoe.data.scale import RatingScale
from gavamoe.data.splits import TRAIN, split_rows


@dataclass(frozen=True)
class Decisions:
    """What was decided.

    Attributes:
        rows: one row per ingested review: keep, user_id, item_id, level, split (a place in SPLITS, -1 when dropped).
        users: user_id, user, n_train, mean_rating of the known users.
        items: the same of the known items.
        dropped: how many reviews each filter dropped.
    """

    rows: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame
    dropped: dict[str, int]


def decide(keys: pl.DataFrame, scale: RatingScale, split: str, seed: int) -> Decisions:
    """Decide on every ingested review.

    Args:
        keys: user, item, rating, timestamp, split of every ingested review.
        scale: the rating scale.
        split: the split method.
        seed: of the random split.
    """
    levels = scale.to_level(keys["rating"])
    user_names, user = _codes(keys["user"])
    item_names, item = _codes(keys["item"])
    keep = np.ones(keys.height, dtype=bool)
    dropped: dict[str, int] = {}
    if split != "column":  # published splits are kept row for row
        keep = _latest_of_each_pair(user, item, keys["timestamp"])
        dropped["repeated user-item pairs"] = int((~keep).sum())
    coded = keys.select("timestamp", "split").with_columns(user=user, item=item).filter(keep)
    codes = np.full(keys.height, -1, dtype=np.int8)
    codes[keep] = split_rows(coded, split, seed)
    train = codes == TRAIN
    user_ids, users = _known("user", user_names, user, train, keys["rating"])
    item_ids, items = _known("item", item_names, item, train, keys["rating"])
    rows = pl.DataFrame(
        {
            "keep": keep,
            "user_id": user_ids[user],
            "item_id": item_ids[item],
            "level": levels,
            "split": codes,
        }
    )
    return Decisions(rows, users, items, dropped)


def _codes(names: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """Return the sorted distinct names, and the place of each row's name among them, from 0."""
    distinct = names.unique().sort()
    return distinct, ids_of(names, distinct).to_numpy() - 1


def _latest_of_each_pair(user: np.ndarray, item: np.ndarray, timestamp: pl.Series) -> np.ndarray:
    """Of several reviews of one item by one user the latest counts; without times, the last in the source."""
    pairs = pl.DataFrame({"user": user, "item": item, "time": timestamp, "row": np.arange(len(user))})
    latest = pairs.sort("time", "row", nulls_last=False).unique(["user", "item"], keep="last", maintain_order=True)
    keep = np.zeros(len(user), dtype=bool)
    keep[latest["row"].to_numpy()] = True
    return keep


def _known(
    column: str, names: pl.Series, codes: np.ndarray, train: np.ndarray, rating: pl.Series
) -> tuple[np.ndarray, pl.DataFrame]:
    """Give ids 1..N, in the order of the names, to those with a training record; return id by code, and the table."""
    counts = np.bincount(codes[train], minlength=len(names))
    sums = np.bincount(codes[train], weights=rating.to_numpy()[train], minlength=len(names))
    known = counts > 0
    ids = np.where(known, np.cumsum(known), 0).astype(np.int32)
    table = pl.DataFrame(
        {
            f"{column}_id": ids[known],
            column: names.filter(known),
            "n_train": counts[known].astype(np.int32),
            "mean_rating": (sums[known] / counts[known]).astype(np.float32),
        }
    )
    return ids, table
