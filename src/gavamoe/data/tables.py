"""Tables in the formats people exchange, chosen by the suffix."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl

from gavamoe.errors import ConfigError
from gavamoe.files import staged_file

SUFFIXES = (".jsonl", ".csv", ".parquet")


def check_suffix(path: Path | str) -> None:
    """Raise `ConfigError` unless `write_table` can tell the format by the suffix."""
    name = Path(path).name
    if not name.removesuffix(".gz").endswith(SUFFIXES) or name.endswith(".parquet.gz"):
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
