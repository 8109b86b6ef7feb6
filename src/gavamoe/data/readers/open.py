"""Opening a source: the kind of file is told by its first bytes, the layout by its columns."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from gavamoe.data.bad_lines import BadLines
from gavamoe.data.readers.canonical import REVIEW_SCHEMA, Notes, to_reviews
from gavamoe.data.readers.delimited import Delimited
from gavamoe.data.readers.json_lines import JsonLines
from gavamoe.data.readers.layouts import FORMATS, Layout, find_layout
from gavamoe.data.readers.lines import read_start
from gavamoe.data.readers.parquet import ParquetRows
from gavamoe.data.readers.rows import LINE, Rows
from gavamoe.errors import DataError


@dataclass(frozen=True)
class ReadOptions:
    """How to read sources.

    Args:
        format: one of FORMATS, or auto.
        columns: source columns that the user named, by review column.
        header: names of all columns of delimited files that have no header line.
    """

    format: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    header: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.format not in ("auto", *FORMATS):
            raise DataError(f"format '{self.format}' is unknown: expected auto, {', '.join(FORMATS)}")


@dataclass(frozen=True)
class ReviewSource:
    """A file of reviews, and where in it the columns of a review are."""

    rows: Rows
    layout: Layout

    def reviews(self, bad: BadLines, notes: Notes) -> Iterator[pl.DataFrame]:
        """Yield the reviews in batches with the columns and types of REVIEW_SCHEMA."""
        wanted = list(dict.fromkeys(self.layout.columns.values()))
        for batch in self.rows.batches(wanted):
            columns = [pl.col(source).alias(column) for column, source in self.layout.columns.items()]
            yield to_reviews(batch.select(*columns, LINE), self.rows.path, bad, notes).select(list(REVIEW_SCHEMA))


def expand(sources: Sequence[Path | str]) -> list[Path]:
    """Expand globs (`part-*.jsonl.gz`) in the order given, each sorted by name.

    Raises:
        DataError: a pattern matches nothing, or no source is given.
    """
    paths: list[Path] = []
    for source in map(str, sources):
        matches = sorted(glob.glob(source)) if glob.has_magic(source) and not Path(source).exists() else [source]
        if not matches:
            raise DataError(f"no file matches {source}")
        paths.extend(map(Path, matches))
    if not paths:
        raise DataError("name at least one file of reviews")
    return list(dict.fromkeys(paths))


def open_rows(path: Path, bad: BadLines, header: Sequence[str] = ()) -> Rows:
    """Open a file as rows of strings: Parquet, JSON lines or delimited text."""
    start = read_start(path, 4096)
    if start.startswith(b"PAR1"):
        return ParquetRows(path)
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")):
        return JsonLines(path, bad)
    return Delimited(path, bad, header or None)


def open_reviews(path: Path, options: ReadOptions, bad: BadLines) -> ReviewSource:
    """Open a file of reviews.

    Raises:
        DataError: the file cannot be read, or its columns are not those of reviews.
    """
    rows = open_rows(path, bad, options.header)
    return ReviewSource(rows, find_layout(rows.columns, options.columns, options.format, str(path)))
