"""A file of pairs to explain: JSON lines, CSV, TSV or Parquet, plain or compressed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from gavamoe.conditions import Condition
from gavamoe.data.readers.open import open_rows
from gavamoe.data.readers.reading import Reading
from gavamoe.data.readers.rows import LINE, BadLines, RowReader
from gavamoe.errors import DataError


def read_pairs(
    path: Path,
    condition: Condition,
    encoding: str | None = None,
    records: str | None = None,
    on_reading: Callable[[Reading], None] | None = None,
) -> pl.DataFrame:
    """Read user and item as strings, and the columns that the condition says are given: rating (Float64), feature.

    Args:
        path: the file, of any format.
        condition: what the prompt may know.
        encoding: the encoding of a text; None to find it.
        records: the path of the records inside JSON objects.
        on_reading: called with how the file was read, to print what was guessed.

    Raises:
        DataError: the file cannot be read, a needed column is absent, or a needed value is; names the line.
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
    if "feature" in given:  # a row without one states none; a column without any is a mistake
        pairs = pairs.with_columns(pl.col("feature").fill_null(""))
        if (pairs["feature"] == "").all():
            raise DataError(f"{path}: the column feature is empty, and --feature given needs it")
    for name in wanted:
        if pairs[name].null_count():
            line = pairs.filter(pl.col(name).is_null())[LINE][0]
            raise DataError(f"{path}, line {line}: no {name}" + (" that is a number" if name == "rating" else ""))
    return pairs.drop(LINE)


def _batches(rows: RowReader, wanted: list[str]) -> Iterator[pl.DataFrame]:
    for batch in rows.batches(wanted):
        # Stripped as `prepare` strips them, so that the names of one file are those of the other.
        names = batch.select(pl.col(wanted).str.strip_chars(), pl.col(LINE).cast(pl.String))
        yield names.with_columns(pl.col("user", "item").replace("", None))
