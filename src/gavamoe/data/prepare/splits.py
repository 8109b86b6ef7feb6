"""Split interactions into train, valid (model selection) and test (final results)."""

from __future__ import annotations

import numpy as np
import polars as pl

from gavamoe.data.dataset import SPLITS
from gavamoe.errors import DataError

TRAIN, VALID, TEST = range(len(SPLITS))
ANONYMOUS_CODE = -1  # user code of all anonymous users
# 8:1:1, as in the PETER and PEPLER evaluation.
VALID_SHARE = TEST_SHARE = 0.1


def split_rows(
    keys: pl.DataFrame, method: str, seed: int, unparsed_time: str = "", ambiguous_time: str = ""
) -> np.ndarray:
    """Assign every interaction to a split.

    Args:
        keys: one row per interaction: user code and item code (from 0; ANONYMOUS_CODE for anonymous users), timestamp,
            split.
        method: `random` (each named user and each item keeps a training record), `temporal` (the latest interactions
            are the test split, where users may be unknown), `column` (as given; where it names no validation reviews,
            a tenth of the training reviews become them, drawn like those of `random`).
        seed: seed of the random split, and of validation reviews that are drawn.
        unparsed_time: a time in no known format, with file and line, for the message that times are missing; empty if
            all times were parsed.
        ambiguous_time: a time whose day and month cannot be told apart; empty if there is none.

    Returns:
        The split of each interaction as its position in SPLITS (0 train, 1 valid, 2 test), int8 [n].

    Raises:
        DataError: the times or the split column that the method needs are missing.
    """
    if method == "random":
        return _random(keys["user"].to_numpy(), keys["item"].to_numpy(), seed)
    if method == "temporal":
        return _temporal(keys["timestamp"], unparsed_time, ambiguous_time)
    codes = _from_column(keys["split"])
    return codes if (codes == VALID).any() else _with_drawn_valid(codes, keys, seed)


def _random(user: np.ndarray, item: np.ndarray, seed: int) -> np.ndarray:
    """Split at random, with a training record for each named user and each item."""
    order = np.random.default_rng(seed).permutation(len(user))
    held_out = np.ones(len(user), dtype=bool)
    # The first record of each named user and each item, in random order, stays in training. Anonymous users remain
    # unknown even with a training record, and keeping their only records there would leave no unknown users to test.
    for code in (user, item):
        named = order[code[order] != ANONYMOUS_CODE]
        held_out[named[np.unique(code[named], return_index=True)[1]]] = False
    candidates = order[held_out[order]]
    n_valid, n_test = round(VALID_SHARE * len(user)), round(TEST_SHARE * len(user))
    # If too few records are left for held-out splits, valid and test share them.
    n_valid, n_test = min(n_valid, len(candidates) // 2), min(n_test, len(candidates) - len(candidates) // 2)
    split = np.full(len(user), TRAIN, dtype=np.int8)
    split[candidates[:n_valid]] = VALID
    split[candidates[n_valid : n_valid + n_test]] = TEST
    return split


def _temporal(timestamp: pl.Series, unparsed_time: str, ambiguous_time: str = "") -> np.ndarray:
    """Split by time: the latest tenth is test, the tenth before is valid."""
    missing = timestamp.null_count()
    if missing:
        why, remedy = "have none", "name the column with --timestamp-col"
        if unparsed_time:
            why = f"have none in a known format, such as {unparsed_time}"
            remedy = "write times as epochs or ISO dates, or say with --time-format how they are written"
        if ambiguous_time:
            why = f"have one that may be day or month first, such as {ambiguous_time!r}"
            remedy = "say which with --time-format day-first or --time-format month-first"
        raise DataError(
            f"--split temporal needs a time on every review, {missing} of {len(timestamp)} {why}; "
            f"{remedy}, or use --split random"
        )
    order = np.argsort(timestamp.to_numpy(), kind="stable")
    n_test = round(TEST_SHARE * len(order))
    n_valid = round(VALID_SHARE * len(order))
    split = np.full(len(order), TRAIN, dtype=np.int8)
    split[order[len(order) - n_test - n_valid :]] = VALID
    split[order[len(order) - n_test :]] = TEST
    return split


def _with_drawn_valid(codes: np.ndarray, keys: pl.DataFrame, seed: int) -> np.ndarray:
    """Return the splits with validation reviews drawn from the training reviews; the other reviews keep theirs."""
    train = np.flatnonzero(codes == TRAIN)
    drawn = _random(keys["user"].to_numpy()[train], keys["item"].to_numpy()[train], seed) == VALID
    codes = codes.copy()
    codes[train[drawn]] = VALID
    return codes


def _from_column(split: pl.Series) -> np.ndarray:
    """Convert the split names of the source to codes."""
    if split.null_count() == len(split):
        raise DataError("--split column needs a column `split` with train, valid and test; name it with --split-col")
    if split.null_count():
        raise DataError(f"--split column: {split.null_count()} of {len(split)} reviews have no split")
    codes = split.replace_strict({name: code for code, name in enumerate(SPLITS)}, return_dtype=pl.Int8).to_numpy()
    if not (codes == TRAIN).any():
        raise DataError("--split column: no review is marked train")
    return codes
