"""Read and check a file of (user, item) pairs to explain: a file of any format that `prepare` reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from gavamoe.conditions import Condition
from gavamoe.data.readers.open import open_rows
from gavamoe.data.readers.reading import Reading
from gavamoe.data.readers.rows import LINE, BadLines, RowReader
from gavamoe.data.scale import RatingScale
from gavamoe.errors import DataError


def read_pairs(
    path: Path,
    condition: Condition,
    scale: RatingScale,
    encoding: str | None = None,
    records: str | None = None,
    on_reading: Callable[[Reading], None] | None = None,
) -> pl.DataFrame:
    """Read the pairs, and the columns whose condition is "given".

    Args:
        path: a file of any format, with columns user and item, and rating or feature where the condition needs them.
        condition: what the prompt contains.
        scale: the rating scale that given ratings must be on.
        encoding: the encoding of a text file; None to detect it.
        records: the path of the records inside a JSON document; None to find it.
        on_reading: called with how the file was read, to print what was guessed.

    Returns:
        One row per pair: user and item (strings), and where given rating (Float64) and feature ("" in a row without).

    Raises:
        DataError: the file cannot be read, or lacks a column or a value that is needed; the message names the line.
    """
    rows = open_rows(path, BadLines(), encoding=encoding, records=records)
    given = [name for name in ("rating", "feature") if getattr(condition, name) == "given"]
    for name in ("user", "item", *given):
        if name not in rows.columns:
            why = f", as --{name} given needs it; choose predicted or none" if name in given else ""
            raise DataError(f"{path} has no column {name}{why}; found {', '.join(rows.columns)}")
    wanted = ["user", "item", *given]
    pairs = pl.concat([pl.DataFrame(schema=dict.fromkeys([*wanted, LINE], pl.String)), *_batches(rows, wanted)])
    if pairs.is_empty():
        raise DataError(f"{path} has no pairs")
    if on_reading:
        on_reading(rows.reading)
    if "rating" in given:
        pairs = pairs.with_columns(pl.col("rating").cast(pl.Float64, strict=False))
    if "feature" in given:  # a row may lack a feature; a column without any value is an error
        pairs = pairs.with_columns(pl.col("feature").fill_null(""))
        if (pairs["feature"] == "").all():
            raise DataError(f"{path}: the column feature is empty, and --feature given needs it")
    for name in wanted:
        if pairs[name].null_count():
            line = pairs.filter(pl.col(name).is_null())[LINE][0]
            raise DataError(f"{path}, line {line}: no {name}" + (" that is a number" if name == "rating" else ""))
    if "rating" in given:
        _check_ratings(pairs["rating"], scale, path)
    return pairs.drop(LINE)


def _check_ratings(rating: pl.Series, scale: RatingScale, path: Path) -> None:
    """Raise `DataError` with the row if a rating is not a level of the scale."""
    try:
        scale.to_level(rating)
    except DataError as error:
        raise DataError(f"{path}, {error}, the scale this run was trained on") from None


def _batches(rows: RowReader, wanted: list[str]) -> Iterator[pl.DataFrame]:
    """Yield the wanted columns and the line numbers as strings; a blank user or item is null."""
    for batch in rows.batches(wanted):
        # White space is stripped as in `prepare`, so that the names match.
        names = batch.select(pl.col(wanted).str.strip_chars(), pl.col(LINE).cast(pl.String))
        yield names.with_columns(pl.col("user", "item").replace("", None))
