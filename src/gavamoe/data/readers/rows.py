"""What all readers share: the interface of a reader, and the count of lines that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import polars as pl

from gavamoe.errors import DataError

# Not a name that a column of a file is likely to have.
LINE = "<line>"


class RowReader(Protocol):
    """A file of records that is read in batches of strings.

    Attributes:
        path: the file.
        columns: the columns of the file; a nested field is written with a dot, as in `author.username`.
    """

    path: Path
    columns: list[str]

    def batches(self, wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the wanted columns as strings (null if absent) and `line`, the line number in the file."""
        ...


def string_schema(columns: Sequence[str]) -> dict[str, pl.DataType]:
    """Return the schema of columns that are read as strings."""
    return {name: pl.String() for name in columns}


@dataclass
class BadLines:
    """The unusable lines of all files; one more than `allowed` is an error.

    Args:
        allowed: how many lines may be dropped (`--skip-bad N`); None if the command has no such option.
        examples: the first five dropped lines, each with file, line and problem.
        count: number of dropped lines.
    """

    allowed: int | None = None
    examples: list[str] = field(default_factory=list)
    count: int = 0

    def report(self, path: Path, line: int, problem: str) -> None:
        """Count a line as dropped.

        Raises:
            DataError: no more lines may be dropped; names file, line and problem.
        """
        place = f"{path}: line {line}: {problem}"
        if self.allowed is None:
            raise DataError(f"{place}; correct the line")
        if self.count >= self.allowed:
            spent = f" (already dropped {self.count} lines)" if self.count else ""
            raise DataError(f"{place}{spent}; correct the line, or drop up to N such lines with --skip-bad N")
        self.count += 1
        if len(self.examples) < 5:
            self.examples.append(place)
