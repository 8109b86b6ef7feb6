"""Tables in the formats people exchange, chosen by the suffix."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl

from gavamoe.errors import ConfigError, DataError
from gavamoe.files import staged_file

READABLE = (".jsonl", ".csv", ".parquet")


def check_suffix(path: Path | str) -> None:
    """Raise `ConfigError` unless `write_table` can tell the format by the suffix."""
    name = Path(path).name
    if not name.removesuffix(".gz").endswith(READABLE) or name.endswith(".parquet.gz"):
        raise ConfigError(f"cannot tell the format of {name}: end it in .jsonl, .csv (or with .gz), or .parquet")


def write_table(frame: pl.DataFrame | pl.LazyFrame, path: Path | str) -> None:
    """Write .jsonl, .jsonl.gz, .csv, .csv.gz or .parquet; whole or not at all. `ConfigError` for another suffix.

    A lazy frame is streamed: it is never in memory as a whole.
    """
    path = Path(path)
    check_suffix(path)
    name = path.name.removesuffix(".gz")
    compression: Literal["gzip", "uncompressed"] = "gzip" if path.name.endswith(".gz") else "uncompressed"
    rows = frame.lazy()
    with staged_file(path) as staged:
        if name.endswith(".jsonl"):
            rows.sink_ndjson(staged, compression=compression, check_extension=False)
        elif name.endswith(".csv"):
            rows.sink_csv(staged, compression=compression, check_extension=False)
        else:
            rows.sink_parquet(staged)


def read_table(path: Path | str) -> pl.DataFrame:
    """Read .jsonl, .csv or .parquet; `DataError` says what is wrong with the file."""
    path = Path(path)
    try:
        if path.suffix == ".jsonl":
            return pl.read_ndjson(path)
        if path.suffix == ".csv":
            return pl.read_csv(path)
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
    raise DataError(f"cannot tell the format of {path.name}: a table ends in {', '.join(READABLE)}")
