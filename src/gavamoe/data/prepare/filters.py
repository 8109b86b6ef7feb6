"""Filters: which reviews are dropped because they are repeated, too short, or of users and items seen too rarely."""

from __future__ import annotations

import numpy as np
import polars as pl


def latest_of_each_pair(user: np.ndarray, item: np.ndarray, timestamp: pl.Series) -> np.ndarray:
    """Mark, of several reviews of one item by one user, the latest; without times, the last in the source; bool [n]."""
    pairs = pl.DataFrame({"user": user, "item": item, "time": timestamp, "row": np.arange(len(user))})
    repeated = pairs.filter(pl.struct("user", "item").is_duplicated())  # most are not, and need no sorting
    latest = repeated.sort("time", "row", nulls_last=False).unique(["user", "item"], keep="last", maintain_order=True)
    keep = np.ones(len(user), dtype=bool)
    keep[repeated["row"].to_numpy()] = False
    keep[latest["row"].to_numpy()] = True
    return keep


def k_core(user: np.ndarray, item: np.ndarray, keep: np.ndarray, k: int) -> np.ndarray:
    """Drop users and items with fewer than k reviews until all have k; return what stays of `keep`, bool [n].

    The k-core is unique: the order of dropping does not matter.
    """
    keep = keep.copy()
    while True:
        enough = np.ones_like(keep)
        for code in (user, item):
            counts = np.bincount(code[keep], minlength=int(code.max(initial=-1)) + 1)
            enough &= counts[code] >= k
        if enough[keep].all():
            return keep
        keep &= enough
