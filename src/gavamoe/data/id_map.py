"""The ids of one catalog in another: which users and items of a newer dataset an older one knows, by name.

The ids of a dataset are positions in a sorted list of names, so they change when reviews are appended.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from gavamoe.data.catalog import Catalog, encode_names


@dataclass(frozen=True)
class IdMap:
    """The older id of every newer id; 0 where the older catalog does not know the name.

    Args:
        user: older user ids by newer user id, int64 [users + 1]; the unknown user stays 0.
        item: older item ids by newer item id, int64 [items + 1]; the unknown item stays 0.
        lost_users: older users that the newer catalog lacks.
        lost_items: older items that the newer catalog lacks.
    """

    user: np.ndarray
    item: np.ndarray
    lost_users: int
    lost_items: int

    @classmethod
    def between(cls, older: Catalog, newer: Catalog) -> IdMap:
        """Look up the names of the newer catalog in the older one."""
        user = _older_ids(newer.users["user"], older.users["user"])
        item = _older_ids(newer.items["item"], older.items["item"])
        kept_users, kept_items = int((user > 0).sum()), int((item > 0).sum())
        return cls(user, item, older.n_users - kept_users, older.n_items - kept_items)

    @property
    def new_users(self) -> int:
        """Number of users that the older catalog does not know."""
        return int((self.user[1:] == 0).sum())

    @property
    def new_items(self) -> int:
        """Number of items that the older catalog does not know."""
        return int((self.item[1:] == 0).sum())


def count_known_pairs(older: Catalog, reviews: pl.DataFrame) -> int:
    """Return how many reviews, by the names of user and item, are training interactions of a catalog."""
    pairs = pl.DataFrame(
        {
            "user_id": encode_names(reviews["user"], older.users["user"]),
            "item_id": encode_names(reviews["item"], older.items["item"]),
        }
    ).filter((pl.col("user_id") > 0) & (pl.col("item_id") > 0))
    history = older.history.select(pl.col("user_id", "item_id").cast(pl.Int32))
    return pairs.join(history, on=["user_id", "item_id"], how="semi").height


def _older_ids(names: pl.Series, known: pl.Series) -> np.ndarray:
    return np.concatenate([[0], encode_names(names, known).to_numpy()]).astype(np.int64)
