"""Find how a delimited file is written: header, separator, unnamed columns, and the escape of quotes."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gavamoe.data.readers.reading import shortened
from gavamoe.errors import DataError

SEPARATORS = "\t,;|"
# MovieLens separates with `::`. Inside the package that is one byte that no text contains.
DOUBLE_COLON, UNIT_SEPARATOR = "::", "\x1f"
SKIPPED = "_"
SEP_LINE = re.compile(r'"?sep=(\\t|.)"?[\t,;|]*$', re.IGNORECASE)
# RecBole's atomic files state a type with each name: user_id:token, rating:float.
TYPED = re.compile(r"(.+):(token|token_seq|float|float_seq)$")
MOVIELENS = {
    "ratings": ("user", "item", "rating", "timestamp"),
    "movies": ("item", "title", "genres"),
}
INSPECTED_RECORDS = 20
ESCAPED = re.compile(rb'\\(["\\])')


@dataclass(frozen=True)
class Dialect:
    """How a delimited file is written.

    Args:
        columns: the column names; `_` for a column without a name.
        separator: the separator, one character.
        header_lines: lines before the first record.
        quoted: whether quotes enclose values.
        double_colon: whether the file separates with `::`, which is replaced with the separator.
        name: the format, for Reading.
    """

    columns: list[str]
    separator: str
    header_lines: int
    quoted: bool = True
    double_colon: bool = False
    name: str = "csv"


def find_dialect(head: str, header: Sequence[str] | None, place: str) -> Dialect:
    """Find the dialect of a file from its first lines.

    Args:
        head: the first lines.
        header: the column names if the file has no header line; None if it has one.
        place: the file, for messages.

    Raises:
        DataError: the first line is not a line of column names.
    """
    lines = [line.rstrip("\r") for line in head.split("\n")]
    if not lines[0].strip():
        raise DataError(f"{place}: line 1 is blank: expected the names of the columns")
    stated = SEP_LINE.match(lines[0]) if len(lines) > 1 else None
    if stated:
        lines = lines[1:]
    if _is_double_colon(lines):
        return _movielens(lines, header, place)
    separator = stated[1].replace("\\t", "\t") if stated else find_separator(lines[0], header)
    skipped = (1 if stated else 0) + (header is None)
    names = [name.strip() for name in header or _names(lines[0], separator, place)]
    name = {"\t": "tsv"}.get(separator, "csv")
    if header is not None:
        _refuse_second_header(lines, separator, header, place)
    if header is None:
        names = [name or SKIPPED for name in names]
        typed = [TYPED.match(name) for name in names]
        if all(typed):
            names, name = [match[1] for match in typed if match], "recbole atomic file"
        names = _with_unnamed(names, lines[1:], separator)
    repeated = [name for name, count in Counter(names).items() if count > 1 and name != SKIPPED]
    if repeated:
        raise DataError(f"{place}: the column {shortened(repeated[0], 80)} occurs twice; name each column once")
    return Dialect(names, separator, skipped, name=name)


def find_separator(line: str, header: Sequence[str] | None) -> str:
    """Return the most frequent separator of line 1; of those that give as many values as names, if names are given."""
    fitting = [mark for mark in SEPARATORS if header and len(values_of(line, mark)) == len(header)]
    return max(fitting or SEPARATORS, key=line.count)


def values_of(line: str, separator: str) -> list[str]:
    """Return the values of a line that is one record; [] if it cannot be one."""
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def escapes_with_backslash(lines: Sequence[str], separator: str, columns: int) -> bool:
    r"""Return whether quotes inside values are written `\"`, as MySQL and Spark write them, rather than `""`.

    Args:
        lines: lines that contain `\"`.
        separator: the separator.
        columns: the number of columns.
    """
    doubled = sum(_fits(line, separator, columns, None) for line in lines)
    escaped = sum(_fits(line, separator, columns, "\\") for line in lines)
    if doubled == escaped == 0:  # the records span lines
        inside = sum(len(re.findall(rf'\\"[^{re.escape(separator)}"\r\n]', line)) for line in lines)
        return inside * 2 >= sum(line.count('\\"') for line in lines)
    return escaped > doubled


def unescape(data: bytes) -> bytes:
    r"""Write `\"` as `""`, and `\\` as one backslash."""
    return ESCAPED.sub(lambda match: b'""' if match[1] == b'"' else b"\\", data)


def _fits(line: str, separator: str, columns: int, escape: str | None) -> bool:
    try:
        return len(next(csv.reader([line], delimiter=separator, escapechar=escape, strict=True), [])) == columns
    except csv.Error:
        return False


def _names(line: str, separator: str, place: str) -> list[str]:
    """Parse the header line."""
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        raise DataError(f"{place}: line 1 is not a line of column names (a line break inside a name)") from None


def _refuse_second_header(lines: Sequence[str], separator: str, header: Sequence[str], place: str) -> None:
    """Raise DataError if the columns are named with --columns, and line 1 names them too."""
    first = [value.strip() for value in values_of(lines[0], separator)]
    given = {name.lower() for name in header if name != SKIPPED}
    repeats = sum(value.lower() in given for value in first)
    if first and (all(map(TYPED.match, first)) or repeats * 2 > len(given)):
        names = shortened(", ".join(first), 120)
        raise DataError(
            f"{place}: line 1 names the columns itself ({names}), so --columns, which is for files without such a "
            "line, does not fit: leave it out, or name single columns with --user-col, --item-col and --rating-col"
        )


def _with_unnamed(names: list[str], lines: Sequence[str], separator: str) -> list[str]:
    """Add the column that the header does not name: row numbers before, as R writes them, or an empty one behind."""
    records = [values_of(line, separator) for line in lines[:INSPECTED_RECORDS] if line.strip()]
    if len(records) < 1 or any(len(record) != len(names) + 1 for record in records):
        return names
    if all(record[-1] == "" for record in records):
        return [*names, SKIPPED]
    numbers = [int(record[0]) if record[0].isdecimal() else -1 for record in records]
    counts_up = all(after == before + 1 for before, after in pairwise(numbers))
    return [SKIPPED, *names] if numbers[0] in (0, 1) and counts_up else names


def _is_double_colon(lines: Sequence[str]) -> bool:
    """Return whether the first lines are separated with `::`."""
    counts = [line.count(DOUBLE_COLON) for line in lines[:INSPECTED_RECORDS] if line.strip()]
    return min(counts) >= 2 and max(counts) == min(counts)


def _movielens(lines: Sequence[str], header: Sequence[str] | None, place: str) -> Dialect:
    """Return the dialect of a file separated with `::`; without a header, its columns are those of MovieLens."""
    first = lines[0].split(DOUBLE_COLON)
    numbers = [value.strip().replace(".", "", 1).isdecimal() for value in first]
    skipped = 0
    if header is not None:
        names = [name.strip() for name in header]
    elif not any(numbers):
        names, skipped = [name.strip() or SKIPPED for name in first], 1
    elif len(first) in (3, 4) and all(numbers[-2:]):
        names = list(MOVIELENS["ratings"][: len(first)])
    elif len(first) == 3 and not any(numbers[1:]):
        names = list(MOVIELENS["movies"])
    else:
        raise DataError(
            f"{place}: line 1 has {len(first)} values separated with :: and no names: name the columns with --columns, "
            "for example --columns user,item,rating,timestamp"
        )
    return Dialect(names, UNIT_SEPARATOR, skipped, quoted=False, double_colon=True, name="movielens ::")
