"""Pairs as people ask for them: one by name, a list of tuples, a frame; and the columns that a condition needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from gavamoe.errors import DataError
from gavamoe.explainer.prompt import Condition


def one_pair(user: Any, item: Any, rating: float | None, feature: str | None) -> tuple[pl.DataFrame, Condition]:
    """One pair as a frame; what is passed is given."""
    frame = pl.DataFrame({"user": [str(user)], "item": [str(item)]})
    if rating is not None:
        frame = frame.with_columns(rating=pl.lit(float(rating)))
    if feature is not None:
        frame = frame.with_columns(feature=pl.lit(feature))
    return frame, Condition("predicted" if rating is None else "given", "predicted" if feature is None else "given")


def as_frame(pairs: pl.DataFrame | Sequence[tuple[Any, Any]]) -> pl.DataFrame:
    """A frame with user and item as strings; other columns are kept."""
    if not isinstance(pairs, pl.DataFrame):
        pairs = pl.DataFrame(
            {"user": [str(user) for user, _ in pairs], "item": [str(item) for _, item in pairs]},
            schema={"user": pl.String, "item": pl.String},
        )
    for name in ("user", "item"):
        if name not in pairs.columns:
            raise DataError(f"pairs need a column {name}; found {', '.join(pairs.columns)}")
    return pairs.with_columns(pl.col("user", "item").cast(pl.String))


def given(frame: pl.DataFrame, name: str) -> pl.Series:
    """The column that the condition NAME=given takes the truth from."""
    if name not in frame.columns or frame[name].null_count() == len(frame) > 0:
        raise DataError(
            f"the condition {name}=given needs a column {name} with values; choose {name}=predicted or none"
        )
    return frame[name]
