"""Read records of `key: value` lines separated by blank lines, as SNAP and RateBeer publish them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

import polars as pl

from gavamoe.data.readers.lines import REMEDY, TextFile
from gavamoe.data.readers.reading import Reading
from gavamoe.data.readers.rows import LINE, BadLines, string_schema

KEY = re.compile(r"([A-Za-z][\w/.\- ]{0,48}?):(?:\s(.*))?$", re.DOTALL)
INSPECTED_RECORDS = 10_000
# A key in a smaller share of the records is a line of a text, unless it has the prefix of others, as in review/text.
RARE = 0.01
BATCH_ROWS = 50_000


def has_key_values(head: str) -> bool:
    """Return whether the start of a file is one of records of `key: value` lines.

    Two lines or more of the first record must be pairs, and most keys must come again or a blank line must end it.
    """
    first: list[str] = []
    for line in head.lstrip("\r\n").split("\n"):
        if not line.strip():
            break
        first.append(line)
    pairs = [match for match in map(KEY.match, first) if match]
    keys = {match[1] for match in pairs}
    has_end = len(first) < len(head.lstrip("\r\n").split("\n")) - 1 or head.endswith("\n")
    return len(keys) >= 3 and len(pairs) == len(keys) and len(pairs) * 2 > len(first) and has_end


def _keys_of(records: list[dict[str, str]]) -> list[str]:
    """Return the keys of records in the order in which they occur, without lines of texts that look like keys."""
    counts = Counter(key for record in records for key in record)
    frequent = [key for key, count in counts.items() if count >= RARE * len(records)]
    prefixes = {key.partition("/")[0] for key in frequent if "/" in key}
    return [key for key in counts if key in frequent or ("/" in key and key.partition("/")[0] in prefixes)]


class KeyValueReader:
    """Read records of `key: value` lines; LINE is the first line of a record.

    A line without a key that is known goes on with the value before it.

    Args:
        text: the file.
        bad: collects the unusable lines.
    """

    def __init__(self, text: TextFile, bad: BadLines) -> None:
        self.path = text.source.path
        self.bad = bad
        self._text = text
        self._keys: set[str] = set()
        self.columns = _keys_of([record for _, record in islice(self._records(), INSPECTED_RECORDS)])
        self._keys = set(self.columns)

    @property
    def reading(self) -> Reading:
        """Return how the file was read."""
        return self._text.reading("key-value records")

    def batches(self, wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the wanted keys as strings, with LINE."""
        rows: list[list[str | None]] = []
        numbers: list[int] = []
        for number, record in self._records():
            rows.append([record.get(name) or None for name in wanted])
            numbers.append(number)
            if len(rows) == BATCH_ROWS:
                yield self._frame(rows, numbers, wanted)
                rows, numbers = [], []
        if rows:
            yield self._frame(rows, numbers, wanted)

    def _frame(self, rows: list[list[str | None]], numbers: list[int], wanted: Sequence[str]) -> pl.DataFrame:
        frame = pl.DataFrame(rows, schema=string_schema(wanted), orient="row")
        return frame.with_columns(pl.Series(LINE, numbers, dtype=pl.UInt32))

    def _records(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield (first line, record); a blank line or a key that comes again ends a record."""
        record: dict[str, str] = {}
        start, last = 1, ""
        for number, line in self._lines():
            match = KEY.match(line) if line.strip() else None
            key = match[1] if match and (not self._keys or match[1] in self._keys) else None
            if record and (not line.strip() or key in record):
                yield start, record
                record, last = {}, ""
            if match and key:
                start = start if record else number
                record[key], last = (match[2] or "").strip(), key
            elif last and line.strip():
                record[last] += " " + line.strip()
            elif match and line.strip():  # a key that only later records have
                start = start if record else number
                record[match[1]], last = (match[2] or "").strip(), match[1]
        if record:
            yield start, record

    def _lines(self) -> Iterator[tuple[int, str]]:
        for chunk in self._text.chunks():
            for number, line in enumerate(chunk.data.removesuffix(b"\n").split(b"\n"), start=chunk.line):
                problem = self._text.not_text(line)
                if problem and self._keys:
                    self.bad.report(self.path, number, problem, REMEDY)
                elif not problem:
                    yield number, line.decode("utf-8")
