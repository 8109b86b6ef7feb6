"""Opening a source: the kind of file is told by its first bytes, the layout by its columns."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from gavamoe.data.readers.bad_lines import BadLines
from gavamoe.data.readers.canonical import REVIEW_SCHEMA, ReadStats, to_reviews
from gavamoe.data.readers.delimited import Delimited
from gavamoe.data.readers.json_lines import JsonLines
from gavamoe.data.readers.layouts import FORMATS, Layout, describes_items, find_layout
from gavamoe.data.readers.lines import EmptyFileError, read_start
from gavamoe.data.readers.parquet import ParquetRows
from gavamoe.data.readers.pickle_rows import PickledRows
from gavamoe.data.readers.rows import LINE, Rows
from gavamoe.errors import DataError

DIRECTORIES = (("reviews.pickle",), ("trn.pkl", "val.pkl", "tst.pkl"))
PICKLE_SUFFIXES = (".pickle", ".pkl")


@dataclass(frozen=True)
class ReadOptions:
    """How to read sources.

    Args:
        format: one of FORMATS, or auto.
        columns: source columns that the user named, by review column.
        header: names of all columns of delimited files that have no header line.
        index: directory of a PEPLER split (train.index and so on); None for the first one beside the pickle.
    """

    format: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    header: tuple[str, ...] = ()
    index: Path | None = None

    def __post_init__(self) -> None:
        if self.format not in ("auto", *FORMATS):
            raise DataError(f"format '{self.format}' is unknown: expected auto, {', '.join(FORMATS)}")


@dataclass(frozen=True)
class ReviewSource:
    """A file of reviews, and where in it the columns of a review are."""

    rows: Rows
    layout: Layout

    def reviews(self, bad: BadLines, notes: ReadStats) -> Iterator[pl.DataFrame]:
        """Yield the reviews in batches with the columns and types of REVIEW_SCHEMA.

        Raises:
            DataError: a line cannot be used, or all texts are empty and another column could be the text.
        """
        wanted = list(dict.fromkeys(self.layout.columns.values()))
        has_rows = has_text = False
        for batch in self.rows.batches(wanted):
            columns = [pl.col(source).alias(column) for column, source in self.layout.columns.items()]
            reviews = to_reviews(batch.select(*columns, LINE), self.rows.path, bad, notes).select(list(REVIEW_SCHEMA))
            has_rows, has_text = has_rows or not reviews.is_empty(), has_text or bool((reviews["text"] != "").any())
            yield reviews
        if has_rows and not has_text and self.layout.unread:
            given = self.layout.columns.get("text")
            raise DataError(
                f"{self.rows.path} has no text in any review{f' (column {given})' if given else ''}, but a column "
                f"{self.layout.unread}: name the column of the text with --text-col"
            )


def expand(sources: Sequence[Path | str]) -> list[Path]:
    """Expand globs (`part-*.jsonl.gz`) in the order given, each sorted by name, and the field's directories of pickles.

    Raises:
        DataError: a pattern matches nothing, or no source is given.
    """
    paths: list[Path] = []
    for source in map(str, sources):
        matches = sorted(glob.glob(source)) if glob.has_magic(source) and not Path(source).exists() else [source]
        if not matches:
            raise DataError(f"no file matches {source}")
        paths.extend(path for match in matches for path in _of_directory(Path(match)))
    if not paths:
        raise DataError("name at least one file of reviews")
    return list(dict.fromkeys(paths))


def _of_directory(path: Path) -> list[Path]:
    """Return the review files of a PEPLER or XRec directory; any other path as it is."""
    known = ([path / name for name in names] for names in DIRECTORIES)
    return next((files for files in known if all(file.is_file() for file in files)), [path])


def open_rows(path: Path, bad: BadLines, header: Sequence[str] = (), index: Path | None = None) -> Rows:
    """Open a file as rows of strings: Parquet, a pickle, JSON lines or delimited text."""
    start = read_start(path, 4096)
    if start.startswith(b"PAR1"):
        return ParquetRows(path)
    if start.startswith(b"\x80") or path.suffix in PICKLE_SUFFIXES:
        return PickledRows(path, index)
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")):
        return JsonLines(path, bad)
    return Delimited(path, bad, header or None)


@dataclass
class Sources:
    """The files that were named: those of reviews, opened; those that describe items; those with nothing in them."""

    reviews: list[ReviewSource] = field(default_factory=list)
    described: list[Path] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)


def sort_sources(paths: Sequence[Path], options: ReadOptions, bad: BadLines) -> Sources:
    """Open the files and tell which is which.

    Raises:
        DataError: a file is none of them, or none has reviews.
    """
    sources = Sources()
    why_empty: EmptyFileError | None = None
    for path in paths:
        try:
            rows = open_rows(path, bad, options.header, options.index)
        except EmptyFileError as error:
            sources.empty.append(path)
            why_empty = why_empty or error
            continue
        named = options.columns and all(source in rows.columns for source in options.columns.values())
        if describes_items(rows.columns) and not named:
            sources.described.append(path)
        else:
            layout = find_layout(rows.columns, options.columns, options.format, str(path))
            sources.reviews.append(ReviewSource(rows, layout))
    if sources.reviews:
        return sources
    if why_empty:
        raise why_empty
    raise DataError(
        f"{sources.described[0]} describes items: name the file of reviews too; or, if these are reviews, name the "
        "column of their user with --user-col"
    )


def open_reviews(path: Path, options: ReadOptions, bad: BadLines) -> ReviewSource:
    """Open a file of reviews.

    Raises:
        DataError: the file cannot be read, or its columns are not those of reviews.
    """
    rows = open_rows(path, bad, options.header, options.index)
    return ReviewSource(rows, find_layout(rows.columns, options.columns, options.format, str(path)))
