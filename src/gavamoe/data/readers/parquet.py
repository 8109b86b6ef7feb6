"""Read Parquet files in batches of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl
from polars.selectors import by_name

from gavamoe.data.readers.inputs import EmptyFileError, InputFile
from gavamoe.data.readers.reading import Reading, shortened
from gavamoe.data.readers.rows import LINE
from gavamoe.errors import DataError

BATCH_ROWS = 200_000


class ParquetReader:
    """Read the rows of a Parquet file; `line` is the row number.

    Args:
        source: the file.

    Raises:
        DataError: the file is not Parquet.
        EmptyFileError: the file has no rows.
    """

    def __init__(self, source: InputFile) -> None:
        self.path = source.path
        self._source = source
        path = source.place
        try:
            self._file = pl.scan_parquet(source.on_disk(), glob=False)
            self._schema = self._file.collect_schema()
            self._rows: int = self._file.select(pl.len()).collect().item()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise DataError(f"{path} is not a Parquet file that can be read: {_first_line(error)}") from error
        self.columns = list(self._schema)
        if not self._rows:
            raise EmptyFileError(f"{path} is empty: expected reviews")

    @property
    def reading(self) -> Reading:
        """Return how the file was read."""
        source = self._source
        return Reading("parquet", containers=source.containers, member=source.member)

    def batches(self, wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the wanted columns as strings, with `line`, the row number from 1."""
        columns = [_as_string(name, self._schema.get(name)) for name in wanted]
        for start in range(0, self._rows, BATCH_ROWS):
            try:
                frame = self._file.slice(start, BATCH_ROWS).select(columns).collect()
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
                raise DataError(f"{self.path}: rows from {start + 1} cannot be read: {_first_line(error)}") from error
            yield frame.with_columns(pl.int_range(start + 1, start + 1 + frame.height, dtype=pl.UInt32).alias(LINE))


def _as_string(name: str, dtype: pl.DataType | None) -> pl.Expr:
    """Convert a column to strings; a nested value becomes its JSON text, as JSON lines give it."""
    if dtype is None:
        return pl.lit(None, pl.String).alias(name)
    column: pl.Expr = by_name(name).as_expr()  # not pl.col: `*` or `^a.*$` is the column of that name, not a pattern
    if dtype.is_nested():
        column = pl.struct(value=column).struct.json_encode().str.json_path_match("$.value").alias(name)
    elif dtype == pl.Binary:
        column = column.cast(pl.String, strict=False)
    elif dtype.is_float():  # pandas stores ids as decimals where one is missing: 7.0 is 7
        whole = column.cast(pl.Int64, strict=False)
        return pl.when(whole == column).then(whole.cast(pl.String)).otherwise(column.cast(pl.String)).alias(name)
    return column.cast(pl.String)


def _first_line(error: BaseException) -> str:
    return shortened(str(error).splitlines()[0], 160) if str(error) else type(error).__name__
