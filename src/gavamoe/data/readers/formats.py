"""Choose the reader of a file by its first bytes, and the tables of an archive or a workbook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gavamoe.data.readers.canonical import ReadRules
from gavamoe.data.readers.delimited import DelimitedReader
from gavamoe.data.readers.inputs import EmptyFileError, InputFile, list_tables, locate
from gavamoe.data.readers.json_lines import JsonReader
from gavamoe.data.readers.key_value import KeyValueReader, has_key_values
from gavamoe.data.readers.layouts import FORMATS
from gavamoe.data.readers.lines import TextFile
from gavamoe.data.readers.parquet import ParquetReader
from gavamoe.data.readers.pickle_rows import PickleReader
from gavamoe.data.readers.reading import Reading, shortened
from gavamoe.data.readers.rows import BadLines, RowReader
from gavamoe.data.readers.sql_dump import SqlDumpReader, is_sql_dump
from gavamoe.data.readers.workbook import is_workbook, open_sheets
from gavamoe.errors import DataError

PICKLE_SUFFIXES = (".pickle", ".pkl")


@dataclass(frozen=True)
class ReadOptions:
    """How to read sources.

    Args:
        format: one of FORMATS, or auto.
        columns: source columns that the user named, by review column.
        header: names of all columns, for delimited files without a header line.
        index: directory of a PEPLER split (train.index and so on); None for the first one beside the pickle.
        encoding: the encoding of text files, as Python names it; None to find it.
        records: the path of the list of records inside JSON objects; None to find it in a JSON document.
        item_from_file: whether each file holds the reviews of one item, which its name names.
        rules: what the user said about the values.
        prepares: whether messages may advise the options of `prepare`.
    """

    format: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    header: tuple[str, ...] = ()
    index: Path | None = None
    encoding: str | None = None
    records: str | None = None
    item_from_file: bool = False
    rules: ReadRules = field(default_factory=ReadRules)
    prepares: bool = True

    def __post_init__(self) -> None:
        if self.format not in ("auto", *FORMATS):
            raise DataError(f"format '{self.format}' is unknown: expected auto, {', '.join(FORMATS)}")


@dataclass
class Tables:
    """The tables of a file.

    Args:
        readers: the tables; one for a file that is no archive.
        failed: members of an archive that are no tables, each with the reason.
        empty: members without content.
        is_archive: whether the file is an archive or a workbook of several sheets.
    """

    readers: list[RowReader] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    is_archive: bool = False


def open_tables(path: Path, bad: BadLines, options: ReadOptions | None = None) -> Tables:
    """Open all tables of a file: itself, the members of an archive, or the sheets of a workbook.

    Raises:
        DataError: the file cannot be read, or is an archive without a table.
        EmptyFileError: the file, or each member, is empty.
    """
    options = options or ReadOptions()
    source = locate(path)
    members = list_tables(source)
    if members is None:
        readers = _open(source, bad, options)
        return Tables(readers, is_archive=len(readers) > 1)
    tables = Tables(is_archive=True)
    for member in members:
        try:
            tables.readers += _open(member, bad, options)
        except EmptyFileError:
            tables.empty.append(member.member)
        except DataError as error:
            tables.failed[member.member] = str(error)
    if not tables.readers:
        reasons = list(tables.failed.values())
        if len(reasons) == 1:
            raise DataError(reasons[0])
        if not reasons:
            raise EmptyFileError(f"{source.place} is empty: each of its members is")
        raise DataError(f"{source.place} has no table that can be read: {shortened(reasons[0], 300)}")
    return tables


def refuse_unused_options(readers: Sequence[RowReader], options: ReadOptions) -> None:
    """Raise `DataError` for an option that no file uses.

    Args:
        readers: the files of all sources.
        options: how they were opened.
    """
    first = readers[0]
    place, kind = shortened(first.path), first.reading.format
    refuse_unused_encoding(place, [reader.reading for reader in readers], options.encoding)
    if options.header and not any(isinstance(reader, DelimitedReader) for reader in readers):
        raise DataError(
            f"{place} ({kind}) is no CSV, and --columns names the columns of CSV without a header: leave it out, or "
            "name single columns with --user-col and so on"
        )
    if options.records is not None and not any(isinstance(reader, JsonReader) for reader in readers):
        raise DataError(f"{place} is not JSON: --records names a list inside JSON objects")
    if options.index is not None and not any(isinstance(reader, PickleReader) for reader in readers):
        raise DataError(f"{place} is no PEPLER pickle, and --index is the split of one: leave --index out")


def refuse_unused_encoding(place: str, readings: Sequence[Reading], encoding: str | None) -> None:
    """Raise `DataError` for an encoding if none of the tables was read from a text."""
    if encoding is not None and not any(reading.encoding for reading in readings):
        raise DataError(f"{place} ({readings[0].format}) is no text, so --encoding has no effect: leave it out")


def open_rows(
    path: Path,
    bad: BadLines,
    header: Sequence[str] = (),
    index: Path | None = None,
    encoding: str | None = None,
    records: str | None = None,
) -> RowReader:
    """Open a file with one table, of any format, for reading rows of strings.

    Args:
        path: the file, or an archive with one table, or the path of an archive and the name of a table in it.
        bad: collects the unusable lines.
        header: column names of a delimited file without a header line.
        index: directory of a PEPLER split.
        encoding: the encoding of a text; None to find it.
        records: the path of the records inside JSON objects.

    Raises:
        DataError: the file cannot be read, or has several tables.
    """
    options = ReadOptions(header=tuple(header), index=index, encoding=encoding, records=records)
    readers = open_tables(path, bad, options).readers
    if len(readers) > 1:
        named = [reader.reading.member for reader in readers]
        raise DataError(
            f"{shortened(path)} has {len(readers)} tables ({shortened(', '.join(named), 200)}): name one, for example "
            f"{shortened(path)}/{shortened(named[0], 80)}"
        )
    return readers[0]


def _open(source: InputFile, bad: BadLines, options: ReadOptions) -> list[RowReader]:
    """Open a file that is no archive; several readers only for a workbook of several sheets."""
    start = source.start(4096)
    if start.startswith(b"PAR1"):
        return [ParquetReader(source)]
    is_pickle = start.startswith(b"\x80") and options.encoding is None  # also how a GBK text may begin
    if is_pickle or source.path.suffix in PICKLE_SUFFIXES:
        return [PickleReader(source, options.index)]
    if is_workbook(source, start):
        return list(open_sheets(source))
    text = TextFile(source, options.encoding)
    beginning = text.peek().lstrip("\ufeff")
    if beginning.lstrip().startswith(("{", "[")):
        return [JsonReader(text, bad, options.records)]
    if options.records is not None:
        raise DataError(f"{source.place} is not JSON: --records names a list inside JSON objects")
    if not options.header:
        head = beginning.replace("\r\n", "\n").replace("\r", "\n")
        if is_sql_dump(head):
            return [SqlDumpReader(text, bad)]
        if has_key_values(head):
            return [KeyValueReader(text, bad)]
    return [DelimitedReader(text, bad, options.header or None)]
