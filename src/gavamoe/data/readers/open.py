"""Open sources: the first bytes of a file determine its reader, the columns determine its layout."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from gavamoe.data.readers.canonical import REVIEW_SCHEMA, ReadStats, to_reviews
from gavamoe.data.readers.delimited import DelimitedReader
from gavamoe.data.readers.json_lines import JsonLinesReader
from gavamoe.data.readers.layouts import FORMATS, Layout, find_layout, is_item_metadata
from gavamoe.data.readers.lines import EmptyFileError, read_start
from gavamoe.data.readers.parquet import ParquetReader
from gavamoe.data.readers.pickle_rows import PickleReader
from gavamoe.data.readers.rows import LINE, BadLines, RowReader
from gavamoe.errors import DataError

# Files of the published directories that may be named as one source.
DIRECTORIES = (("reviews.pickle",), ("trn.pkl", "val.pkl", "tst.pkl"))
PICKLE_SUFFIXES = (".pickle", ".pkl")


@dataclass(frozen=True)
class ReadOptions:
    """How to read sources.

    Args:
        format: one of FORMATS, or auto.
        columns: source columns that the user named, by review column.
        header: names of all columns, for delimited files without a header line.
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
    """An open file of reviews, and its layout."""

    reader: RowReader
    layout: Layout

    def reviews(self, bad: BadLines, stats: ReadStats) -> Iterator[pl.DataFrame]:
        """Yield the reviews in batches with the columns and types of REVIEW_SCHEMA.

        Args:
            bad: collects the unusable lines.
            stats: the counts of each batch are added here.

        Raises:
            DataError: a line cannot be used, or all texts are empty and another column could be the text.
        """
        wanted = list(dict.fromkeys(self.layout.columns.values()))
        has_rows = has_text = False
        for batch in self.reader.batches(wanted):
            columns = [pl.col(source).alias(column) for column, source in self.layout.columns.items()]
            reviews = to_reviews(batch.select(*columns, LINE), self.reader.path, bad, stats)
            reviews = reviews.select(list(REVIEW_SCHEMA))
            has_rows, has_text = has_rows or not reviews.is_empty(), has_text or bool((reviews["text"] != "").any())
            yield reviews
        if has_rows and not has_text and self.layout.other_text:
            given = self.layout.columns.get("text")
            raise DataError(
                f"{self.reader.path} has no text in any review{f' (column {given})' if given else ''}, but a column "
                f"{self.layout.other_text}: name the column of the text with --text-col"
            )


def expand_sources(sources: Sequence[Path | str]) -> list[Path]:
    """Expand globs and the directories of published datasets to files.

    Args:
        sources: paths or globs, such as `part-*.jsonl.gz`.

    Returns:
        The files without duplicates, in the order of the sources; the matches of a glob are sorted by name.

    Raises:
        DataError: a glob matches nothing, or no source is given.
    """
    paths: list[Path] = []
    for source in map(str, sources):
        matches = sorted(glob.glob(source)) if glob.has_magic(source) and not Path(source).exists() else [source]
        if not matches:
            raise DataError(f"no file matches {source}")
        paths.extend(path for match in matches for path in _expand_directory(Path(match)))
    if not paths:
        raise DataError("name at least one file of reviews")
    return list(dict.fromkeys(paths))


def _expand_directory(path: Path) -> list[Path]:
    """Return the review files of a PEPLER or XRec directory; any other path unchanged."""
    known = ([path / name for name in names] for names in DIRECTORIES)
    return next((files for files in known if all(file.is_file() for file in files)), [path])


def open_rows(path: Path, bad: BadLines, header: Sequence[str] = (), index: Path | None = None) -> RowReader:
    """Open a file of any format for reading rows of strings.

    Args:
        path: a Parquet file, a pickle, JSON lines or delimited text.
        bad: collects the unusable lines.
        header: column names of a delimited file without a header line.
        index: directory of a PEPLER split.

    Raises:
        DataError: the file cannot be read.
    """
    start = read_start(path, 4096)
    if start.startswith(b"PAR1"):
        return ParquetReader(path)
    if start.startswith(b"\x80") or path.suffix in PICKLE_SUFFIXES:
        return PickleReader(path, index)
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")):
        return JsonLinesReader(path, bad)
    return DelimitedReader(path, bad, header or None)


@dataclass
class Sources:
    """The files of a dataset by content.

    Args:
        reviews: the open files of reviews.
        metadata: files of item metadata.
        empty: files without content.
    """

    reviews: list[ReviewSource] = field(default_factory=list)
    metadata: list[Path] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)


def open_sources(paths: Sequence[Path], options: ReadOptions, bad: BadLines) -> Sources:
    """Open files and classify each as reviews, item metadata or empty.

    Raises:
        DataError: a file is none of these, or no file contains reviews.
    """
    sources = Sources()
    why_empty: EmptyFileError | None = None
    for path in paths:
        try:
            reader = open_rows(path, bad, options.header, options.index)
        except EmptyFileError as error:
            sources.empty.append(path)
            why_empty = why_empty or error
            continue
        named = options.columns and all(source in reader.columns for source in options.columns.values())
        if is_item_metadata(reader.columns) and not named:
            sources.metadata.append(path)
        else:
            layout = find_layout(reader.columns, options.columns, options.format, str(path))
            sources.reviews.append(ReviewSource(reader, layout))
    if sources.reviews:
        return sources
    if why_empty:
        raise why_empty
    raise DataError(
        f"{sources.metadata[0]} describes items: name the file of reviews too; or, if these are reviews, name the "
        "column of their user with --user-col"
    )


def open_reviews(path: Path, options: ReadOptions, bad: BadLines) -> ReviewSource:
    """Open one file of reviews.

    Raises:
        DataError: the file cannot be read, or its columns are not those of reviews.
    """
    reader = open_rows(path, bad, options.header, options.index)
    return ReviewSource(reader, find_layout(reader.columns, options.columns, options.format, str(path)))


def read_reviews(path: Path | str) -> pl.DataFrame:
    """Read a file of raw reviews as one frame, for evaluating a run on reviews that were not prepared.

    Args:
        path: JSON lines, CSV, TSV or Parquet, plain, gzip or zstd, in any known layout.

    Returns:
        user, item (strings), rating (Float32, as given), text (empty if missing), and, if the file has them, feature,
        opinion, sentiment (1, 0, -1), timestamp (seconds) and split (train, valid, test).

    Raises:
        DataError: the file cannot be read; names the line and what was expected there.
    """
    path = Path(path)
    bad, stats = BadLines(), ReadStats()
    source = open_reviews(path, ReadOptions(), bad)
    frame = pl.concat([pl.DataFrame(schema=REVIEW_SCHEMA), *source.reviews(bad, stats)]).drop(LINE)
    if frame.is_empty():
        raise DataError(f"{path} has no reviews")
    optional = ("feature", "opinion", "sentiment", "timestamp", "split")
    return frame.drop([name for name in optional if frame[name].null_count() == frame.height])
