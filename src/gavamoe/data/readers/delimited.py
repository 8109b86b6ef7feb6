"""Read CSV and TSV in chunks that end with a record; a chunk that fails is parsed again record by record."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from gavamoe.data.readers.lines import LONGEST_LINE, Chunk, EmptyFileError, chunks, read_start
from gavamoe.data.readers.rows import LINE, BadLines, string_schema
from gavamoe.errors import DataError

SEPARATORS = "\t,;|"
csv.field_size_limit(LONGEST_LINE)


class DelimitedReader:
    """Read a delimited file; the separator is the most frequent one of tab, comma, semicolon and bar in line 1.

    If the column names are given, a separator that divides line 1 into as many values is preferred, since a text may
    contain more commas.

    Args:
        path: the file, plain, gzip or zstd.
        bad: collects the unusable lines.
        header: the column names if the file has no header line; None if line 1 names them.

    Raises:
        DataError: line 1 is not a valid header.
        EmptyFileError: the file is empty.
    """

    def __init__(self, path: Path, bad: BadLines, header: Sequence[str] | None = None) -> None:
        self.path = path
        self.bad = bad
        self.has_header = header is None
        first = _first_line(path)
        self.separator = _separator(first, header)
        self.columns = [name.strip() for name in header or _names(first, self.separator, path)]
        repeated = [name for name in self.columns if self.columns.count(name) > 1 and name != "_"]
        if repeated:
            raise DataError(f"{path}: the column {repeated[0]} occurs twice; name each column once")

    def batches(self, wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the wanted columns as strings, with `line`, the line number at which each record starts."""
        skip = self.has_header
        for chunk in self._records():
            if skip:
                first = chunk.data.find(b"\n") + 1 or len(chunk.data)
                chunk, skip = Chunk(chunk.data[first:], chunk.line + 1), False
            if chunk.data.strip():
                frame = self._parse(chunk)
                absent = [pl.lit(None, pl.String).alias(name) for name in wanted if name not in self.columns]
                yield frame.with_columns(absent).select(*wanted, LINE)

    def _records(self) -> Iterator[Chunk]:
        """Yield chunks joined until their quotes are balanced, so that a quoted line break does not split a record."""
        held: list[Chunk] = []
        quotes = 0
        for chunk in chunks(self.path):
            held.append(chunk)
            quotes += chunk.data.count(b'"')
            if quotes % 2 == 0 or len(held) * len(chunk.data) > LONGEST_LINE:
                yield Chunk(b"".join(part.data for part in held), held[0].line)
                held, quotes = [], 0
        if held:
            yield Chunk(b"".join(part.data for part in held), held[0].line)

    def _parse(self, chunk: Chunk) -> pl.DataFrame:
        """Parse a chunk at once, or record by record if that fails or if records span lines."""
        lines = chunk.data.count(b"\n") + (not chunk.data.endswith(b"\n"))
        try:
            frame = pl.read_csv(
                io.BytesIO(chunk.data),
                has_header=False,
                schema=string_schema(self._unique_columns()),
                separator=self.separator,
                truncate_ragged_lines=False,
            )
        except (
            pl.exceptions.PolarsError,
            pl.exceptions.PanicException,
            OSError,
        ):  # OSError: bytes that look compressed
            return self._parse_by_record(chunk)
        # Fewer rows than lines: some records span lines. Only parsing by record gives the line number of each.
        if frame.height != lines:
            return self._parse_by_record(chunk)
        return frame.with_columns(pl.int_range(chunk.line, chunk.line + lines, dtype=pl.UInt32).alias(LINE))

    def _parse_by_record(self, chunk: Chunk) -> pl.DataFrame:
        """Parse a chunk one record at a time, and report the records that cannot be used."""
        rows: list[list[str | None]] = []
        numbers: list[int] = []
        for number, row in self._read(self._decoded(chunk), chunk.line):
            if len(row) > len(self.columns):
                self.bad.report(self.path, number, f"{len(row)} values for {len(self.columns)} columns")
            elif any(value.strip() for value in row):
                rows.append([value or None for value in row] + [None] * (len(self.columns) - len(row)))
                numbers.append(number)
        frame = pl.DataFrame(rows, schema=string_schema(self._unique_columns()), orient="row")
        return frame.with_columns(pl.Series(LINE, numbers, dtype=pl.UInt32))

    def _read(self, lines: list[str], first: int) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, values) of each record; after an unclosed quote, continue with the next line.

        Args:
            lines: the lines, each with its line end.
            first: the line number of the first one in the file.
        """
        at = 0
        while at < len(lines):
            try:
                size, row = self._record(lines, at)
            except csv.Error as error:
                size, row = 1, []
                self.bad.report(self.path, first + at, f"not a delimited record ({error})")
            yield first + at, row
            at += size

    def _record(self, lines: list[str], at: int) -> tuple[int, list[str]]:
        """Return the number of lines of the record that starts at line `at`, and its values."""
        if '"' not in lines[at] and "\r" not in lines[at]:
            return 1, lines[at][:-1].split(self.separator)
        size, row = self._read_quoted(lines, at, strict=True)
        if size == 1 or (size and len(row) <= len(self.columns) and not self._are_records(lines[at : at + size])):
            return size, row
        # The quote closes inside a value, spans other records, or never closes: the record is limited to this line.
        row = next(csv.reader([lines[at]], delimiter=self.separator))
        if len(row) < len(self.columns) and self._read_quoted(lines, at, strict=False)[0] > 1:
            raise csv.Error("a quote that does not close")
        return 1, row

    def _read_quoted(self, lines: list[str], at: int, strict: bool) -> tuple[int, list[str]]:
        """Read a record over as many lines as its quotes span; return (0, []) on failure."""
        rest = map(lines.__getitem__, range(at, len(lines)))
        reader = csv.reader(rest, delimiter=self.separator, strict=strict)
        try:
            row = next(reader)
        except csv.Error:
            return 0, []
        return reader.line_num, row

    def _are_records(self, lines: list[str]) -> bool:
        """Return whether each line is a complete record by itself, with one column that is a number in all of them."""
        numeric = set(range(len(self.columns)))
        for line in filter(str.strip, reversed(lines)):  # the last line is the least likely to be a record
            row = _values(line, self.separator)
            if len(row) != len(self.columns):
                return False
            numeric = {column for column in numeric if _is_number(row[column])}
        return bool(numeric)

    def _decoded(self, chunk: Chunk) -> list[str]:
        """Decode the lines of a chunk, and report those that are not UTF-8."""
        lines = []
        for offset, line in enumerate(chunk.data.split(b"\n")):
            try:
                lines.append(line.decode("utf-8") + "\n")
            except UnicodeDecodeError as error:
                problem = f"not UTF-8 text at byte {error.start + 1}"
                self.bad.report(self.path, chunk.line + offset, problem)
                lines.append("\n")  # keeps the line numbers
        return lines

    def _unique_columns(self) -> list[str]:
        """Return the column names, with the skipped columns ("_") numbered."""
        return [f"_{column}" if name == "_" else name for column, name in enumerate(self.columns)]


def _separator(line: str, header: Sequence[str] | None) -> str:
    """Choose the separator of line 1; see DelimitedReader."""
    fitting = [mark for mark in SEPARATORS if header and len(_values(line, mark)) == len(header)]
    return max(fitting or SEPARATORS, key=line.count)


def _values(line: str, separator: str) -> list[str]:
    """Return the values of a line that is one record; [] if it cannot be one."""
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _names(line: str, separator: str, path: Path) -> list[str]:
    """Parse the header line."""
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error as error:
        raise DataError(f"{path}: line 1 is not a line of column names ({error})") from None


def _first_line(path: Path) -> str:
    """Read line 1 of a file."""
    start = read_start(path).removeprefix(b"\xef\xbb\xbf")
    line = start.split(b"\n")[0]
    if not start.strip():
        raise EmptyFileError(f"{path} is empty: expected reviews")
    if not line.strip():
        raise DataError(f"{path}: line 1 is blank: expected the names of the columns")
    try:
        return line.decode("utf-8").rstrip("\r")
    except UnicodeDecodeError:
        raise DataError(f"{path}: line 1 is not UTF-8 text: expected the names of the columns") from None
