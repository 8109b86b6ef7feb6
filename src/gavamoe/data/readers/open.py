"""Open sources: the first bytes of a file determine its reader, the columns determine its layout."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from gavamoe.data.readers.canonical import REVIEW_SCHEMA, UNSETTLED, ReadStats, settle, to_reviews
from gavamoe.data.readers.formats import ReadOptions, Tables, open_rows, open_tables
from gavamoe.data.readers.headers import names_columns
from gavamoe.data.readers.inputs import PIPES, EmptyFileError
from gavamoe.data.readers.layouts import Layout, find_layout, is_item_metadata
from gavamoe.data.readers.likeness import find_text_like
from gavamoe.data.readers.prepared import PreparedColumns
from gavamoe.data.readers.reading import Reading, shorten_list, shortened
from gavamoe.data.readers.rows import LINE, BadLines, RowReader, pick_columns
from gavamoe.errors import DataError

__all__ = ["ReadOptions", "ReviewSource", "Sources", "expand_sources", "open_rows", "open_sources", "read_reviews"]

# Files of the published directories that may be named as one source.
DIRECTORIES = (("reviews.pickle",), ("trn.pkl", "val.pkl", "tst.pkl"))
# Spark and Hadoop write a table as a directory of parts.
PART, DONE = "part-*", "_SUCCESS"
YES_AMONG_NUMBERS = "rating '{}' is not a number"
KNOWN_SUFFIXES = (
    *(".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".dat", ".xlsx", ".xls", ".ods", ".inter"),
    *(".gz", ".zst", ".bz2", ".xz", ".zip", ".tar", ".tgz", ".7z", ".pickle", ".pkl"),
)


@dataclass(frozen=True)
class ReviewSource:
    """An open file of reviews, its layout, and how it is read.

    Args:
        reader: the file.
        layout: which of its columns are user, item, rating and so on.
        options: how the file is read.
        passed_over: other tables of the same archive that were not read.
        given: the path that was opened: the file, or a table in an archive.
    """

    reader: RowReader
    layout: Layout
    options: ReadOptions = field(default_factory=ReadOptions)
    passed_over: tuple[str, ...] = ()
    given: Path = Path()

    @property
    def reading(self) -> Reading:
        """How the file was read; complete once all reviews are read, as an ASCII file may end with other letters."""
        return replace(self.reader.reading, passed_over=self.passed_over)

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
            rows = pick_columns(batch, layout.columns).with_columns(
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
    """Expand globs and directories of published datasets or of parts to files; pipes are read anew.

    Args:
        sources: paths or globs, such as `part-*.jsonl.gz`.

    Returns:
        The files without duplicates, in the order of the sources; the matches of a glob are sorted by name.

    Raises:
        DataError: a glob matches nothing, or no source is given.
    """
    PIPES.clear()
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
    """Return the review files of a PEPLER, XRec or Spark directory; any other path unchanged."""
    known = ([path / name for name in names] for names in DIRECTORIES)
    found = next((files for files in known if all(file.is_file() for file in files)), None)
    if found is None and path.is_dir():
        found = sorted(file for file in path.rglob(PART) if file.is_file() and not file.name.endswith(".crc"))
        keys = {part for file in found for part in file.relative_to(path).parts[:-1] if "=" in part}
        if keys:
            raise DataError(
                f"{path} is partitioned by a column ({shorten_list(sorted(keys))}), whose values are only in the names "
                "of its directories: write it without partitions, so that no column is lost"
            )
        if not found and (path / DONE).exists():
            raise DataError(f"{path} is a directory of Spark without parts: it is empty")
    return found or [path]


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


def open_sources(
    paths: Sequence[Path], options: ReadOptions, bad: BadLines, prepared: PreparedColumns | None = None
) -> Sources:
    """Open files and classify each as reviews, item metadata or empty.

    All tables of reviews in an archive are taken; if some have texts, only those.

    Args:
        paths: the files.
        options: how to read them.
        bad: collects the unusable lines.
        prepared: how files were read before; a table with these columns is read in the same way.

    Raises:
        DataError: a file is none of these, or no file contains reviews.
    """
    sources = Sources()
    why_empty: EmptyFileError | None = None
    for path in paths:
        try:
            tables = open_tables(path, bad, options)
        except EmptyFileError as error:
            sources.empty.append(path)
            why_empty = why_empty or error
            continue
        _classify(path, tables, options, prepared, sources)
    if sources.reviews:
        return sources
    if why_empty:
        raise why_empty
    raise DataError(
        f"{shortened(sources.metadata[0])} describes items: name the file of reviews too; or, if these are reviews, "
        "name the column of their user with --user-col"
    )


def _classify(
    path: Path, tables: Tables, given: ReadOptions, prepared: PreparedColumns | None, sources: Sources
) -> None:
    """Add the tables of a file to the sources."""
    reviews: list[ReviewSource] = []
    metadata: list[Path] = []
    for reader in tables.readers:
        options = prepared.options(reader.columns, given) if prepared else given
        named = options.columns and all(source in reader.columns for source in options.columns.values())
        if is_item_metadata(reader.columns) and not named and not options.item_from_file:
            metadata.append(reader.path)
            continue
        try:
            reviews.append(_with_layout(reader, options))
        except DataError as error:
            if not tables.is_archive:
                raise
            tables.failed[reader.reading.member] = str(error)
    if not reviews and not metadata:
        reason = shortened(next(iter(tables.failed.values())), 500)
        if len(tables.failed) == 1:
            raise DataError(reason)
        raise DataError(f"{shortened(path)} has no table of reviews ({shorten_list(tables.failed)}): {reason}")
    if any("text" in source.layout.columns for source in reviews):
        left_out = [source for source in reviews if "text" not in source.layout.columns]
        reviews = [source for source in reviews if "text" in source.layout.columns]
        tables.failed.update((source.reader.reading.member, "has no text") for source in left_out)
    sources.reviews += [replace(source, passed_over=tuple(tables.failed), given=path) for source in reviews]
    sources.metadata += metadata


def _with_layout(reader: RowReader, options: ReadOptions) -> ReviewSource:
    """Find the layout of a table."""
    layout = find_layout(
        reader.columns,
        options.columns,
        options.format,
        shortened(reader.path),
        item_from_file=options.item_from_file,
        prepares=options.prepares,
    )
    return ReviewSource(reader, layout, options)


def read_reviews(
    path: Path | str,
    options: ReadOptions | None = None,
    on_reading: Callable[[Path, Reading], None] | None = None,
    prepared: PreparedColumns | None = None,
) -> pl.DataFrame:
    """Read a file of raw reviews as one frame, for evaluating a run on reviews that were not prepared.

    Args:
        path: a file in any known format and layout, also in an archive.
        options: how to read it.
        on_reading: called with each table that was read and how, to print what was guessed.
        prepared: how the files were read that the run's data was prepared from; a table with these columns is read so.

    Returns:
        user, item (strings), rating (Float32, as given), text (empty if missing), and, if the file has them, feature,
        opinion, sentiment (1, 0, -1), timestamp (seconds) and split (train, valid, test).

    Raises:
        DataError: the file cannot be read; names the line and what was expected there.
    """
    path = Path(path)
    bad, stats = BadLines(), ReadStats()
    options = replace(options or ReadOptions(), prepares=False)
    sources = open_sources([path], options, bad, prepared).reviews
    frames = [pl.DataFrame(schema={**REVIEW_SCHEMA, **UNSETTLED})]
    for source in sources:
        frames += source.reviews(bad, stats)
        if on_reading:
            on_reading(source.reader.path, source.reading)
    frame = pl.concat(frames)
    if frame.is_empty():
        raise DataError(f"{path} has no reviews")
    settled = settle(frame.select("rating", "timestamp", *UNSETTLED), sources[0].options.rules)
    for row in settled.wrong.arg_true():
        bad.report(path, frame[LINE][row], YES_AMONG_NUMBERS.format("true" if frame["rating"][row] else "false"))
    frame = frame.with_columns(settled.rows).drop(LINE, *UNSETTLED)
    optional = ("feature", "opinion", "sentiment", "timestamp", "split")
    return frame.drop([name for name in optional if frame[name].null_count() == frame.height])
