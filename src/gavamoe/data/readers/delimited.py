"""Read CSV and TSV in chunks that end with a record; a chunk that fails is parsed again record by record."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence

import polars as pl

from gavamoe.data.readers.dialect import (
    DOUBLE_COLON,
    SKIPPED,
    UNIT_SEPARATOR,
    escapes_with_backslash,
    find_dialect,
    unescape,
    values_of,
)
from gavamoe.data.readers.inputs import EmptyFileError
from gavamoe.data.readers.lines import LONGEST_LINE, REMEDY, Chunk, TextFile
from gavamoe.data.readers.reading import Reading
from gavamoe.data.readers.rows import LINE, BadLines, pick_columns, string_schema

csv.field_size_limit(LONGEST_LINE)
BLANK_LINE = re.compile(rb"(?:^|\n)[ \t]*\r?\n|\n[ \t\r]+$")
# How many lines a quoted record may span. Each quote that does not close lowers the limit, so that a file of such
# quotes takes linear time; each record over several lines raises it again.
MOST_SPANNED, LEAST_SPANNED = 10_000, 50


class DelimitedReader:
    """Read a delimited file; the separator is the most frequent one of tab, comma, semicolon and bar in line 1.

    If the column names are given, a separator that divides line 1 into as many values is preferred, since a text may
    contain more commas. Excel's line `sep=;` names the separator. MovieLens's `::` is read too.

    Args:
        text: the file.
        bad: collects the unusable lines.
        header: the column names if the file has no header line; None if line 1 names them.

    Raises:
        DataError: line 1 is not a valid header.
        EmptyFileError: the file is empty.
    """

    def __init__(self, text: TextFile, bad: BadLines, header: Sequence[str] | None = None) -> None:
        self.path = text.source.path
        self.bad = bad
        self._text = text
        head = text.first_lines()
        if not head.strip():
            raise EmptyFileError(f"{text.place} is empty: expected reviews")
        self._dialect = find_dialect(head.decode("utf-8", "replace"), header, text.place)
        self.separator = self._dialect.separator
        self.columns = self._dialect.columns
        self._spanned = MOST_SPANNED
        self._backslash = False

    @property
    def reading(self) -> Reading:
        """Return how the file was read."""
        notes = ('quotes inside texts are written \\"',) if self._backslash else ()
        return self._text.reading(self._dialect.name, notes)

    def batches(self, wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the wanted columns as strings, with LINE, the line number at which each record starts."""
        skip = self._dialect.header_lines
        for chunk in self._records():
            while skip and chunk.data:
                first = chunk.data.find(b"\n") + 1 or len(chunk.data)
                chunk, skip = Chunk(chunk.data[first:], chunk.line + 1), skip - 1
            if chunk.data.strip():
                yield pick_columns(self._parse(chunk), {name: name for name in wanted})

    def _records(self) -> Iterator[Chunk]:
        """Yield chunks joined until their quotes are balanced, so that a quoted line break does not split a record."""
        held: list[Chunk] = []
        quotes = 0
        for chunk in self._text.chunks():
            if self._dialect.double_colon:
                data = chunk.data.replace(DOUBLE_COLON.encode(), UNIT_SEPARATOR.encode())
                chunk = Chunk(data, chunk.line)
            held.append(chunk)
            quotes += chunk.data.count(b'"') if self._dialect.quoted else 0
            if quotes % 2 == 0 or len(held) * len(chunk.data) > LONGEST_LINE:
                yield Chunk(b"".join(part.data for part in held), held[0].line)
                held, quotes = [], 0
        if held:
            yield Chunk(b"".join(part.data for part in held), held[0].line)

    def _parse(self, chunk: Chunk) -> pl.DataFrame:
        """Parse a chunk at once, or record by record if that fails or if records span lines."""
        chunk = self._unescaped(chunk)
        lines = chunk.data.count(b"\n") + (not chunk.data.endswith(b"\n"))
        try:
            frame = pl.read_csv(
                io.BytesIO(chunk.data),
                has_header=False,
                schema=string_schema(self._unique_columns()),
                separator=self.separator,
                quote_char='"' if self._dialect.quoted else None,
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
        frame = frame.with_columns(pl.int_range(chunk.line, chunk.line + lines, dtype=pl.UInt32).alias(LINE))
        return _without_blank_rows(frame) if BLANK_LINE.search(chunk.data) else frame

    def _unescaped(self, chunk: Chunk) -> Chunk:
        """Write the quotes of a chunk as CSV does, if the file escapes them with backslashes."""
        if not self._dialect.quoted or b'\\"' not in chunk.data:
            return chunk
        if not self._backslash:
            lines = (line for line in chunk.data.split(b"\n") if b'\\"' in line)
            sample = [line.decode("utf-8", "replace").rstrip("\r") for line, _ in zip(lines, range(200), strict=False)]
            self._backslash = escapes_with_backslash(sample, self.separator, len(self.columns))
        return Chunk(unescape(chunk.data), chunk.line) if self._backslash else chunk

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
            pieces = self._split_at_cr(lines[at])
            if pieces:
                yield from ((first + at, row) for row in pieces)
                at += 1
                continue
            try:
                size, row = self._record(lines, at)
            except csv.Error as error:
                size, row = 1, []
                problem = "a line break outside quotes" if "new-line" in str(error) else str(error)
                self.bad.report(self.path, first + at, f"not a delimited record ({problem})")
            yield first + at, row
            at += size

    def _split_at_cr(self, line: str) -> list[list[str]]:
        """Return the records of a line in which some end with CR alone; [] if there are none."""
        if "\r" not in line[:-2]:
            return []
        rows = [values_of(piece, self.separator) for piece in line.rstrip("\r\n").split("\r") if piece.strip()]
        return rows if all(len(row) == len(self.columns) for row in rows) else []

    def _record(self, lines: list[str], at: int) -> tuple[int, list[str]]:
        """Return the number of lines of the record that starts at line `at`, and its values."""
        if not self._dialect.quoted or ('"' not in lines[at] and "\r" not in lines[at]):
            return 1, lines[at][:-1].split(self.separator)
        size, row = self._read_quoted(lines, at, strict=True)
        if size == 1 or (size and len(row) <= len(self.columns) and not self._are_records(lines[at : at + size])):
            self._spanned = min(MOST_SPANNED, self._spanned * 2) if size > 1 else self._spanned
            return size, row
        # The quote closes inside a value, spans other records, or never closes: the record is limited to this line.
        self._spanned = max(LEAST_SPANNED, self._spanned // 2)
        row = next(csv.reader([lines[at]], delimiter=self.separator))
        if len(row) < len(self.columns) and self._read_quoted(lines, at, strict=False)[0] > 1:
            raise csv.Error("a quote that does not close")
        return 1, row

    def _read_quoted(self, lines: list[str], at: int, strict: bool) -> tuple[int, list[str]]:
        """Read a record over as many lines as its quotes span; return (0, []) on failure."""
        rest = map(lines.__getitem__, range(at, min(len(lines), at + self._spanned)))
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
            row = values_of(line, self.separator)
            if len(row) != len(self.columns):
                return False
            numeric = {column for column in numeric if _is_number(row[column])}
        return bool(numeric)

    def _decoded(self, chunk: Chunk) -> list[str]:
        """Decode the lines of a chunk, and report those that are not text."""
        lines = []
        for offset, line in enumerate(chunk.data.split(b"\n")):
            problem = self._text.not_text(line)
            if problem:
                self.bad.report(self.path, chunk.line + offset, problem, REMEDY)
            lines.append("\n" if problem else line.decode("utf-8") + "\n")  # a blank line keeps the line numbers
        return lines

    def _unique_columns(self) -> list[str]:
        """Return the column names, with the skipped columns ("_") numbered."""
        return [f"_{column}" if name == SKIPPED else name for column, name in enumerate(self.columns)]


def _without_blank_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """Drop the rows of blank lines."""
    values = [series.str.strip_chars().fill_null("") == "" for series in frame.get_columns() if series.name != LINE]
    blank = values[0]
    for value in values[1:]:
        blank &= value
    return frame.filter(~blank)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
