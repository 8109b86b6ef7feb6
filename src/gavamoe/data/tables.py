"""Write tables as JSON lines, CSV or Parquet, chosen by the suffix, and draw rows of one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from gavamoe.errors import ConfigError, DataError
from gavamoe.files import real_path, staged_file

SUFFIXES = (".jsonl", ".csv", ".parquet")


def check_suffix(path: Path | str) -> None:
    """Check that `write_table` knows the format of this suffix.

    Raises:
        ConfigError: the suffix is not .jsonl, .csv, .jsonl.gz, .csv.gz or .parquet.
    """
    name = Path(path).name
    if not name.removesuffix(".gz").endswith(SUFFIXES) or name.endswith(".parquet.gz"):
        raise ConfigError(f"cannot tell the format of {name}: end it in .jsonl, .csv (or with .gz), or .parquet")


def write_table(frame: pl.DataFrame | pl.LazyFrame, path: Path | str) -> None:
    """Write a frame to .jsonl, .jsonl.gz, .csv, .csv.gz or .parquet; a failure leaves no partial file.

    Args:
        frame: the rows; a lazy frame is streamed, so that it need not fit in memory.
        path: the file to write; its suffix selects the format.

    Raises:
        ConfigError: the suffix is another one.
    """
    path = Path(path)
    check_suffix(path)
    name = path.name.removesuffix(".gz")
    compression: Literal["gzip", "uncompressed"] = "gzip" if path.name.endswith(".gz") else "uncompressed"
    rows = frame.lazy()
    with staged_file(real_path(path)) as staged:
        if name.endswith(".jsonl"):
            rows.sink_ndjson(staged, compression=compression, check_extension=False)
        elif name.endswith(".csv"):
            rows.sink_csv(staged, compression=compression, check_extension=False)
        else:
            rows.sink_parquet(staged)


def check_replaces(path: Path, columns: Sequence[str], content: str) -> None:
    """Check that a table may be written to a path: a file that is there has the columns of such a table.

    Args:
        path: the file.
        columns: of the table, in any order and among others.
        content: what the table holds, for the message.

    Raises:
        ConfigError: the suffix is another one.
        DataError: another file is there that is not empty.
    """
    check_suffix(path)
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        return
    try:
        found = _columns(path)
    except (pl.exceptions.PolarsError, OSError, EOFError, ValueError):
        found = []
    if not set(columns) <= set(found):
        raise DataError(f"{path} exists and is no file of {content}; choose another path, or delete it")


def _columns(path: Path) -> list[str]:
    """Return the columns of a table that `write_table` wrote, without reading the table."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        return pl.scan_parquet(path, glob=False).collect_schema().names()
    if name.endswith(".csv"):
        return pl.scan_csv(path, infer_schema=False, glob=False).collect_schema().names()
    with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
        return list(json.loads(file.readline()))


def sample_rows(frame: pl.DataFrame, at_most: int) -> pl.DataFrame:
    """Return at most `at_most` rows, drawn at random, in their order; always the same ones.

    Files are often sorted, so the first rows would be biased.
    """
    if len(frame) <= at_most:
        return frame
    return frame.with_row_index("_row").sample(at_most, seed=0).sort("_row").drop("_row")


def draw_rows(frame: pl.DataFrame, at_most: int | None, seed: int) -> pl.DataFrame:
    """Return at most `at_most` rows, drawn at random by the seed, in their order; all rows for None."""
    if at_most is None or len(frame) <= at_most:
        return frame
    rows = np.random.default_rng(seed).choice(len(frame), at_most, replace=False)
    drawn: pl.DataFrame = frame[np.sort(rows).tolist()]
    return drawn
