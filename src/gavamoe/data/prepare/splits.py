"""Splits: which interactions are for training, which for choosing, which for the final numbers."""

from __future__ import annotations

import numpy as np
import polars as pl

from gavamoe.errors import DataError

SPLIT_METHODS = ("random", "temporal", "column")
SPLITS = ("train", "valid", "test")
TRAIN, VALID, TEST = range(3)
NOBODY = -1
# 8:1:1, the shares of the PETER and PEPLER evaluation.
VALID_SHARE = TEST_SHARE = 0.1


def split_rows(keys: pl.DataFrame, method: str, seed: int, unread_time: str = "") -> np.ndarray:
    """Assign every interaction to a split.

    Args:
        keys: user and item codes (from 0; NOBODY for an anonymous user), timestamp, split; one row per interaction.
        method: `random` (each named user, and each item, keeps a training record), `temporal` (the latest interactions
            are for testing, so later users are unknown there), `column` (as given).
        seed: of the random split.
        unread_time: a time that was not understood, and where it is; empty when all were.

    Returns:
        0 train, 1 valid, 2 test, int8 [n].
    """
    if method == "random":
        return _random(keys["user"].to_numpy(), keys["item"].to_numpy(), seed)
    return _temporal(keys["timestamp"], unread_time) if method == "temporal" else _given(keys["split"])


def _random(user: np.ndarray, item: np.ndarray, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(user))
    held_out = np.ones(len(user), dtype=bool)
    # The first record of each user, and of each item, in random order stays in training. An anonymous user stays
    # unknown all the same, and to keep its only record there would leave none to test strangers with.
    for code in (user, item):
        named = order[code[order] != NOBODY]
        held_out[named[np.unique(code[named], return_index=True)[1]]] = False
    candidates = order[held_out[order]]
    n_valid, n_test = round(VALID_SHARE * len(user)), round(TEST_SHARE * len(user))
    # Where few records can be spared, valid and test share what there is.
    n_valid, n_test = min(n_valid, len(candidates) // 2), min(n_test, len(candidates) - len(candidates) // 2)
    split = np.full(len(user), TRAIN, dtype=np.int8)
    split[candidates[:n_valid]] = VALID
    split[candidates[n_valid : n_valid + n_test]] = TEST
    return split


def _temporal(timestamp: pl.Series, unread_time: str) -> np.ndarray:
    absent = timestamp.null_count()
    if absent:
        why, remedy = "have none", "name the column with --timestamp-col"
        if unread_time:
            why, remedy = f"have none that is understood, such as {unread_time}", "write times as epochs or ISO dates"
        raise DataError(
            f"--split temporal needs a time on every review, {absent} of {len(timestamp)} {why}; "
            f"{remedy}, or use --split random"
        )
    order = np.argsort(timestamp.to_numpy(), kind="stable")
    n_test = round(TEST_SHARE * len(order))
    n_valid = round(VALID_SHARE * len(order))
    split = np.full(len(order), TRAIN, dtype=np.int8)
    split[order[len(order) - n_test - n_valid :]] = VALID
    split[order[len(order) - n_test :]] = TEST
    return split


def _given(split: pl.Series) -> np.ndarray:
    if split.null_count() == len(split):
        raise DataError("--split column needs a column `split` with train, valid and test; name it with --split-col")
    if split.null_count():
        raise DataError(f"--split column: {split.null_count()} of {len(split)} reviews have no split")
    codes = split.replace_strict({name: code for code, name in enumerate(SPLITS)}, return_dtype=pl.Int8).to_numpy()
    if not (codes == TRAIN).any():
        raise DataError("--split column: no review is marked train")
    return codes
