"""Parquet files, read by row groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from gavamoe.data.readers.lines import EmptyFileError
from gavamoe.data.readers.rows import LINE
from gavamoe.errors import DataError

BATCH_ROWS = 200_000


class ParquetRows:
    """Rows of a Parquet file; `line` is the number of the row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = pl.scan_parquet(path, glob=False)
            self._schema = self._file.collect_schema()
            self._rows: int = self._file.select(pl.len()).collect().item()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise DataError(f"{path} is not a Parquet file that can be read: {_first_line(error)}") from error
        self.columns = list(self._schema)
        if not self._rows:
            raise EmptyFileError(f"{path} is empty: expected reviews")

    def batches(self, wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the wanted columns as strings, with `line`, the number of the row from 1."""
        columns = [_as_string(name, self._schema.get(name)) for name in wanted]
        for start in range(0, self._rows, BATCH_ROWS):
            try:
                frame = self._file.slice(start, BATCH_ROWS).select(columns).collect()
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
                raise DataError(f"{self.path}: rows from {start + 1} cannot be read: {_first_line(error)}") from error
            yield frame.with_columns(pl.int_range(start + 1, start + 1 + frame.height, dtype=pl.UInt32).alias(LINE))


def _as_string(name: str, dtype: pl.DataType | None) -> pl.Expr:
    if dtype is None:
        return pl.lit(None, pl.String).alias(name)
    column = pl.col(name)
    if dtype.is_nested():  # as its JSON text, which is what JSON lines give
        column = pl.struct(value=column).struct.json_encode().str.json_path_match("$.value").alias(name)
    elif dtype == pl.Binary:
        column = column.cast(pl.String, strict=False)
    return column.cast(pl.String)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
