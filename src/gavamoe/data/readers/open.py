"""Open sources: the first bytes of a file determine its reader, the columns determine its layout."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from gavamoe.data.readers.canonical import REVIEW_SCHEMA, UNSETTLED, ReadRules, ReadStats, settle, to_reviews
from gavamoe.data.readers.delimited import DelimitedReader
from gavamoe.data.readers.headers import names_columns
from gavamoe.data.readers.json_lines import JsonLinesReader
from gavamoe.data.readers.layouts import FORMATS, NONE, Layout, find_layout, is_item_metadata
from gavamoe.data.readers.likeness import find_text_like
from gavamoe.data.readers.lines import EmptyFileError, read_start
from gavamoe.data.readers.parquet import ParquetReader
from gavamoe.data.readers.pickle_rows import PickleReader
from gavamoe.data.readers.rows import LINE, BadLines, RowReader
from gavamoe.errors import DataError

YES_AMONG_NUMBERS = "rating '{}' is not a number"
# Files of the published directories that may be named as one source.
DIRECTORIES = (("reviews.pickle",), ("trn.pkl", "val.pkl", "tst.pkl"))
PICKLE_SUFFIXES = (".pickle", ".pkl")
KNOWN_SUFFIXES = (
    *(".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".dat", ".xlsx", ".xls", ".ods", ".inter"),
    *(".gz", ".zst", ".bz2", ".xz", ".zip", ".tar", ".tgz", ".7z", ".pickle", ".pkl"),
)


@dataclass(frozen=True)
class ReadOptions:
    """How to read sources.

    Args:
        format: one of FORMATS, or auto.
        columns: source columns that the user named, by review column.
        header: names of all columns, for delimited files without a header line.
        index: directory of a PEPLER split (train.index and so on); None for the first one beside the pickle.
        item_from_file: whether each file holds the reviews of one item, which its name names.
        rules: what the user said about the values.
        prepares: whether messages may advise the options of `prepare`.
    """

    format: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    header: tuple[str, ...] = ()
    index: Path | None = None
    item_from_file: bool = False
    rules: ReadRules = field(default_factory=ReadRules)
    prepares: bool = True

    def __post_init__(self) -> None:
        if self.format not in ("auto", *FORMATS):
            raise DataError(f"format '{self.format}' is unknown: expected auto, {', '.join(FORMATS)}")


@dataclass(frozen=True)
class ReviewSource:
    """An open file of reviews, its layout, and how it is read."""

    reader: RowReader
    layout: Layout
    options: ReadOptions = field(default_factory=ReadOptions)

    def reviews(self, bad: BadLines, stats: ReadStats) -> Iterator[pl.DataFrame]:
        """Yield the reviews in batches with the columns and types of REVIEW_SCHEMA and UNSETTLED.

        Args:
            bad: collects the unusable lines.
            stats: the counts of each batch are added here.

        Raises:
            DataError: a line cannot be used, or no column is the text although one could be.
        """
        layout = self.layout
        wanted = list(dict.fromkeys(layout.columns.values()))
        if layout.text_wanted:
            self._check_text(bad)
        is_first = True
        has_rows = has_text = False
        for batch in self.reader.batches(wanted):
            # Names are data here: `*` or `^a.*$` is the column of that name, not a pattern.
            columns = {column: batch[source] for column, source in layout.columns.items()}
            rows = pl.DataFrame({**columns, LINE: batch[LINE]}).with_columns(
                pl.lit(value).alias(column) for column, value in self._constants().items()
            )
            if is_first and self.options.header and not rows.is_empty():
                self._check_header(rows)
            reviews = to_reviews(rows, self.reader.path, bad, stats, self.options.rules)
            reviews = reviews.select([*REVIEW_SCHEMA, *UNSETTLED])
            is_first = False
            has_rows, has_text = has_rows or not reviews.is_empty(), has_text or bool((reviews["text"] != "").any())
            yield reviews
        if has_rows and not has_text and layout.other_text:
            given = layout.columns.get("text")
            remedy = "name the column of the text with --text-col"
            if not self.options.prepares:
                remedy = "rename the column of the text to text"
            raise DataError(
                f"{self.reader.path} has no text in any review{f' (column {given})' if given else ''}, but a column "
                f"{layout.other_text}: {remedy}"
            )

    def _constants(self) -> dict[str, str]:
        """Return the values of review columns that the file has no column for."""
        values = {"user": "anonymous", "item": _stem(self.reader.path)}
        return {column: value for column, value in values.items() if column not in self.layout.columns}

    def _check_header(self, rows: pl.DataFrame) -> None:
        """Raise DataError if the first row is a header although the user named the columns."""
        first = rows.drop(LINE).row(0)
        if names_columns(first):
            raise DataError(
                f"{self.reader.path}: line {rows[LINE][0]} names the columns already "
                f"({', '.join(str(value) for value in first if value)}): leave out --columns, or name single columns "
                "with --user-col and so on"
            )

    def _check_text(self, bad: BadLines) -> None:
        """Raise DataError if no column is the text by its name, but one could be by its content."""
        layout = self.layout
        free = [name for name in self.reader.columns if name not in layout.columns.values() and name != "_"]
        likely = find_text_like(self.reader, free, layout.columns.get("item"))
        if likely:
            remedy = "name it with --text-col, or --text-col none for ratings without texts"
            if not self.options.prepares:
                remedy = "rename the column of the text to text"
            raise DataError(
                f"{self.reader.path}: no column looks like the text; found {', '.join(self.reader.columns)} "
                f"({', '.join(likely)} could be it); {remedy}"
            )


def _stem(path: Path) -> str:
    """Return the name of a file without its suffixes: the item of --item-from-file."""
    name = path.name
    for suffix in reversed(path.suffixes):
        if suffix.lower() not in KNOWN_SUFFIXES:
            break
        name = name[: -len(suffix)]
    return name


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
        if is_item_metadata(reader.columns) and not named and not options.item_from_file:
            sources.metadata.append(path)
        else:
            sources.reviews.append(ReviewSource(reader, _find_layout(reader, options), options))
    if sources.reviews:
        return sources
    if why_empty:
        raise why_empty
    raise DataError(
        f"{sources.metadata[0]} describes items: name the file of reviews too; or, if these are reviews, name the "
        "column of their user with --user-col"
    )


def _find_layout(reader: RowReader, options: ReadOptions) -> Layout:
    """Choose the layout of an open file."""
    place = str(reader.path)
    return find_layout(reader.columns, options.columns, options.format, place, options.item_from_file, options.prepares)


def open_reviews(path: Path, options: ReadOptions, bad: BadLines) -> ReviewSource:
    """Open one file of reviews.

    Raises:
        DataError: the file cannot be read, or its columns are not those of reviews.
    """
    reader = open_rows(path, bad, options.header, options.index)
    return ReviewSource(reader, _find_layout(reader, options), options)


def read_reviews(path: Path | str, prepared: PreparedColumns | None = None) -> pl.DataFrame:
    """Read a file of raw reviews as one frame, for evaluating a run on reviews that were not prepared.

    Args:
        path: a file in any known layout.
        prepared: how the files were read that the run's data was prepared from; a file with these columns is read so.

    Returns:
        user, item (strings), rating (Float32, as given), text (empty if missing), and, if the file has them, feature,
        opinion, sentiment (1, 0, -1), timestamp (seconds) and split (train, valid, test).

    Raises:
        DataError: the file cannot be read; names the line and what was expected there.
    """
    path = Path(path)
    bad, stats = BadLines(), ReadStats()
    reader = open_rows(path, bad)
    options = (prepared or PreparedColumns()).options(reader.columns)
    source = ReviewSource(reader, _find_layout(reader, options), options)
    empty = pl.DataFrame(schema={**REVIEW_SCHEMA, **UNSETTLED})
    frame = pl.concat([empty, *source.reviews(bad, stats)])
    if frame.is_empty():
        raise DataError(f"{path} has no reviews")
    settled = settle(frame.select("rating", "timestamp", *UNSETTLED), options.rules)
    for row in settled.wrong.arg_true():
        bad.report(path, frame[LINE][row], YES_AMONG_NUMBERS.format("true" if frame["rating"][row] else "false"))
    frame = frame.with_columns(settled.rows).drop(LINE, *UNSETTLED)
    optional = ("feature", "opinion", "sentiment", "timestamp", "split")
    return frame.drop([name for name in optional if frame[name].null_count() == frame.height])


@dataclass(frozen=True)
class PreparedColumns:
    """How the files of a prepared dataset were read, so that files like them are read in the same way.

    Args:
        columns: source column of each review column; empty if unknown. A missing user or item means what it means in
            `Layout`.
        rules: what the user said about the values.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    rules: ReadRules = field(default_factory=ReadRules)

    def options(self, found: Sequence[str]) -> ReadOptions:
        """Return how to read a file with these columns: those of them that it has, and no option of `prepare`."""
        if not all(self.columns.get(column, "") in found for column in ("item", "rating") if column in self.columns):
            return ReadOptions(rules=self.rules, prepares=False)
        named = {column: source for column, source in self.columns.items() if source in found}
        if self.columns and "user" not in self.columns:
            named["user"] = NONE
        if self.columns and "text" not in self.columns and "text" not in found:
            named["text"] = NONE
        from_file = bool(self.columns) and "item" not in self.columns
        return ReadOptions(columns=named, item_from_file=from_file, rules=self.rules, prepares=False)
