"""Read the INSERT statements of a dump by mysqldump, and the COPY blocks of one by pg_dump."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import polars as pl

from gavamoe.data.readers.inputs import EmptyFileError
from gavamoe.data.readers.json_documents import count_roles
from gavamoe.data.readers.lines import REMEDY, TextFile
from gavamoe.data.readers.reading import Reading
from gavamoe.data.readers.rows import LINE, BadLines, string_schema
from gavamoe.errors import DataError

STATEMENT = re.compile(
    r"^\s*(?:--|/\*|INSERT\s+(?:IGNORE\s+)?INTO|CREATE\s+TABLE|DROP\s+TABLE|SET\s|COPY\s|LOCK\s|USE\s)", re.I
)
NAME = r"[`\"\[]?([\w$.\-]+)[`\"\]]?"
CREATE = re.compile(rf"^\s*CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(?:{NAME}\.)?{NAME}\s*\(", re.I)
COLUMN = re.compile(r"^\s*[`\"\[]([^`\"\]]+)[`\"\]]\s+\w|^\s*([A-Za-z_]\w*)\s+[A-Za-z]")
NO_COLUMN = re.compile(r"^\s*(?:PRIMARY|UNIQUE|KEY|INDEX|CONSTRAINT|FOREIGN|FULLTEXT|SPATIAL|CHECK)\b", re.I)
INSERT = re.compile(rf"\s*INSERT\s+(?:IGNORE\s+)?INTO\s+(?:{NAME}\.)?{NAME}\s*(?:\(([^()]*)\)\s*)?VALUES\s*", re.I)
COPY = re.compile(rf"^\s*COPY\s+(?:{NAME}\.)?{NAME}\s*\(([^()]*)\)\s+FROM\s+stdin;", re.I)
# A value is a string in quotes, with \ or doubled quotes inside, or a bare number or NULL.
VALUE = re.compile(
    r"""\s*(?:_binary\s*)?(?:N?'((?:[^'\\]|\\.|'')*)'|"((?:[^"\\]|\\.|"")*)"|([^\s,()'"]+))\s*([,)])""", re.DOTALL
)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "", "Z": "", "b": ""}
BATCH_ROWS = 50_000


def is_sql_dump(head: str) -> bool:
    """Return whether the start of a file is that of an SQL dump."""
    lines = [line for line in head.split("\n")[:200] if line.strip()]
    statements = [line for line in lines if STATEMENT.match(line)]
    return bool(lines and STATEMENT.match(lines[0])) and any(
        word in line.upper() for line in statements for word in ("INSERT ", "CREATE TABLE", "COPY ", "SQL DUMP")
    )


class SqlDumpReader:
    """Read the rows of one table of an SQL dump: the one whose columns look most like reviews, else the largest.

    Args:
        text: the file.
        bad: collects the unusable lines.

    Raises:
        DataError: the dump has no rows that can be read.
    """

    def __init__(self, text: TextFile, bad: BadLines) -> None:
        self.path = text.source.path
        self.bad = bad
        self._text = text
        self._created: dict[str, list[str]] = {}
        found: dict[str, list[str]] = {}
        for table, columns, _, _ in self._rows():
            if table not in found:
                found[table] = columns
        if not found:
            raise EmptyFileError(
                f"{text.place} is an SQL dump without rows that can be read: export the table as CSV with a header"
            )
        self._table = max(found, key=lambda table: count_roles(found[table]))
        self.columns = found[self._table]
        self._others = tuple(table for table in found if table != self._table)

    @property
    def reading(self) -> Reading:
        """Return how the file was read."""
        others = f"; other tables: {', '.join(self._others[:5])}" if self._others else ""
        return self._text.reading(f"sql dump, table {self._table}{others}")

    def batches(self, wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the wanted columns as strings, with LINE, the line number of the statement."""
        places = [self.columns.index(name) if name in self.columns else -1 for name in wanted]
        rows: list[list[str | None]] = []
        numbers: list[int] = []
        for table, columns, number, row in self._rows():
            if table != self._table:
                continue
            if len(row) != len(columns):
                self.bad.report(self.path, number, f"{len(row)} values for {len(columns)} columns")
                continue
            rows.append([row[place] if place >= 0 else None for place in places])
            numbers.append(number)
            if len(rows) == BATCH_ROWS:
                yield _frame(rows, numbers, wanted)
                rows, numbers = [], []
        if rows:
            yield _frame(rows, numbers, wanted)

    def _rows(self) -> Iterator[tuple[str, list[str], int, list[str | None]]]:
        """Yield (table, columns, line, values) of each row."""
        self._created = {}
        creating: list[str] | None = None
        copying: tuple[str, list[str]] | None = None
        statement, start = "", 1
        for chunk in self._text.chunks():
            for number, raw in enumerate(chunk.data.removesuffix(b"\n").split(b"\n"), start=chunk.line):
                problem = self._text.not_text(raw)
                if problem:
                    self.bad.report(self.path, number, problem, REMEDY)
                    continue
                line = raw.decode("utf-8")
                if copying:
                    if line.startswith("\\."):
                        copying = None
                    elif line:
                        yield *copying, number, [_copied(value) for value in line.rstrip("\r").split("\t")]
                    continue
                if statement:
                    statement += "\n" + line
                elif INSERT.match(line) or re.match(r"\s*INSERT\s", line, re.I):
                    statement, start = line, number
                elif match := CREATE.match(line):
                    creating = self._created.setdefault(match[2] or match[1], [])
                elif match := COPY.match(line):
                    copying = (match[2], _split_names(match[3]))
                elif creating is not None:
                    column = COLUMN.match(line)
                    if column and not NO_COLUMN.match(line):
                        creating.append(column[1] or column[2])
                    creating = None if line.strip().startswith(")") else creating
                if statement and line.rstrip().endswith(";"):
                    complete = list(self._inserted(statement, start))
                    if complete or len(statement) > 64 << 20:
                        yield from complete
                        statement = ""
        if statement:
            yield from self._inserted(statement + ";", start)

    def _inserted(self, statement: str, number: int) -> Iterator[tuple[str, list[str], int, list[str | None]]]:
        """Yield the rows of an INSERT statement; none if it is not complete."""
        match = INSERT.match(statement)
        if not match:
            return
        table = match[2]
        at, rows = match.end(), []
        while at < len(statement) and statement[at] == "(":
            row, at = _tuple(statement, at + 1)
            if row is None:
                return
            rows.append(row)
            rest = re.compile(r"\s*,\s*").match(statement, at)
            at = rest.end() if rest else at
        columns = _split_names(match[3]) if match[3] else self._created.get(table)
        if rows and not columns:
            raise DataError(
                f"{self._text.place}: line {number}: the columns of table {table} are not named: export it as CSV with "
                "a header"
            )
        yield from ((table, columns or [], number, row) for row in rows)


def _tuple(statement: str, at: int) -> tuple[list[str | None] | None, int]:
    """Return the values of a row and its end; None if it is not complete."""
    row: list[str | None] = []
    while match := VALUE.match(statement, at):
        quoted = match[1] if match[1] is not None else match[2]
        if quoted is not None:
            row.append(_unescape(quoted))
        else:
            row.append(None if match[3].upper() == "NULL" else match[3])
        at = match.end()
        if match[4] == ")":
            return row, at
    return None, at


def _unescape(value: str) -> str:
    if "\\" in value:
        value = re.sub(r"\\(.)", lambda match: ESCAPES.get(match[1], match[1]), value, flags=re.DOTALL)
    return value.replace("''", "'")


def _copied(value: str) -> str | None:
    return None if value == "\\N" else _unescape(value)


def _split_names(names: str) -> list[str]:
    return [name.strip().strip('`"[]') for name in names.split(",")]


def _frame(rows: list[list[str | None]], numbers: list[int], wanted: Sequence[str]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=string_schema(wanted), orient="row")
    return frame.with_columns(pl.Series(LINE, numbers, dtype=pl.UInt32))
