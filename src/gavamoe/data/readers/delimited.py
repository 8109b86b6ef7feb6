"""CSV and TSV: read by chunks that end where a record ends; a chunk that fails is read again record by record."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from gavamoe.data.readers.bad_lines import BadLines
from gavamoe.data.readers.lines import LONGEST_LINE, Chunk, EmptyFileError, chunks, read_start
from gavamoe.data.readers.rows import LINE, strings
from gavamoe.errors import DataError

SEPARATORS = "\t,;|"
csv.field_size_limit(LONGEST_LINE)


class Delimited:
    """Rows of a delimited file; the separator is the one of tab, comma, semicolon and bar that line 1 has most of.

    Where the names are given, one that divides line 1 into as many values comes first: a text may have more commas.

    Args:
        path: the file, plain, gzip or zstd.
        bad: where unusable lines are reported.
        header: the names of its columns when the file has no header line; None when line 1 names them.
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
            raise DataError(f"{path}: the column {repeated[0]} is there twice; name each column once")

    def batches(self, wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the wanted columns as strings, with `line`, the line on which each record starts."""
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
        """Join chunks until the quotes are balanced, so that a quoted line break does not cut a record."""
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
        lines = chunk.data.count(b"\n") + (not chunk.data.endswith(b"\n"))
        try:
            frame = pl.read_csv(
                io.BytesIO(chunk.data),
                has_header=False,
                schema=strings(self._unique_columns()),
                separator=self.separator,
                truncate_ragged_lines=False,
            )
        except (
            pl.exceptions.PolarsError,
            pl.exceptions.PanicException,
            OSError,
        ):  # OSError: bytes that look compressed
            return self._parse_slowly(chunk)
        # Fewer rows than lines: some records span lines, so only the slow reader knows where each one starts.
        if frame.height != lines:
            return self._parse_slowly(chunk)
        return frame.with_columns(pl.int_range(chunk.line, chunk.line + lines, dtype=pl.UInt32).alias(LINE))

    def _parse_slowly(self, chunk: Chunk) -> pl.DataFrame:
        rows: list[list[str | None]] = []
        numbers: list[int] = []
        for number, row in self._read(self._decoded(chunk), chunk.line):
            if len(row) > len(self.columns):
                self.bad.report(self.path, number, f"{len(row)} values for {len(self.columns)} columns")
            elif any(value.strip() for value in row):
                rows.append([value or None for value in row] + [None] * (len(self.columns) - len(row)))
                numbers.append(number)
        frame = pl.DataFrame(rows, schema=strings(self._unique_columns()), orient="row")
        return frame.with_columns(pl.Series(LINE, numbers, dtype=pl.UInt32))

    def _read(self, lines: list[str], first: int) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, values) of each record; after a quote that never closes, go on with the next line.

        Args:
            lines: the lines, each with its end.
            first: the number of the first one in the file.
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
        """Return how many lines the record at a place takes, and its values."""
        if '"' not in lines[at] and "\r" not in lines[at]:
            return 1, lines[at][:-1].split(self.separator)
        size, row = self._joined(lines, at, strict=True)
        if size == 1 or (size and len(row) <= len(self.columns) and not self._are_records(lines[at : at + size])):
            return size, row
        # A quote closes in the middle of a value, or swallows records, or never closes: it may reach no other line.
        row = next(csv.reader([lines[at]], delimiter=self.separator))
        if len(row) < len(self.columns) and self._joined(lines, at, strict=False)[0] > 1:
            raise csv.Error("a quote that does not close")
        return 1, row

    def _joined(self, lines: list[str], at: int, strict: bool) -> tuple[int, list[str]]:
        """Read a record over as many lines as its quotes join; 0 and nothing where that fails."""
        rest = map(lines.__getitem__, range(at, len(lines)))
        reader = csv.reader(rest, delimiter=self.separator, strict=strict)
        try:
            row = next(reader)
        except csv.Error:
            return 0, []
        return reader.line_num, row

    def _are_records(self, lines: list[str]) -> bool:
        """Whether each line alone has a value for every column, and the same column, as the rating, has numbers."""
        numeric = set(range(len(self.columns)))
        for line in filter(str.strip, reversed(lines)):  # the last is the likeliest not to be one
            row = _values(line, self.separator)
            if len(row) != len(self.columns):
                return False
            numeric = {place for place in numeric if _is_number(row[place])}
        return bool(numeric)

    def _decoded(self, chunk: Chunk) -> list[str]:
        lines = []
        for offset, line in enumerate(chunk.data.split(b"\n")):
            try:
                lines.append(line.decode("utf-8") + "\n")
            except UnicodeDecodeError as error:
                problem = f"not UTF-8 text at byte {error.start + 1}"
                self.bad.report(self.path, chunk.line + offset, problem)
                lines.append("\n")  # keeps the count of lines
        return lines

    def _unique_columns(self) -> list[str]:
        return [f"_{place}" if name == "_" else name for place, name in enumerate(self.columns)]


def _separator(line: str, header: Sequence[str] | None) -> str:
    fitting = [mark for mark in SEPARATORS if header and len(_values(line, mark)) == len(header)]
    return max(fitting or SEPARATORS, key=line.count)


def _values(line: str, separator: str) -> list[str]:
    """Return the values of a line that is a record of its own; none when it cannot be one."""
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
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error as error:
        raise DataError(f"{path}: line 1 is not a line of column names ({error})") from None


def _first_line(path: Path) -> str:
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
