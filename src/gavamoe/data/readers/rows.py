"""What all readers share: the interface of a reader, and the count of lines that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import polars as pl

from gavamoe.data.readers.reading import Reading, shortened
from gavamoe.errors import DataError

# Not a name that a column of a file is likely to have.
LINE = "<line>"


class RowReader(Protocol):
    """A file of records that is read in batches of strings.

    Attributes:
        path: the file; for a table in an archive, the path of the archive and the name of the table.
        reading: how the file was read; complete once all batches are read.
        columns: the columns of the file; a nested field is written with a dot, as in `author.username`.
    """

    path: Path
    columns: list[str]

    @property
    def reading(self) -> Reading:
        """Return how the file was read."""
        ...

    def batches(self, wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the wanted columns as strings (null if absent) and LINE, the line number in the file."""
        ...


def string_schema(columns: Sequence[str]) -> dict[str, pl.DataType]:
    """Return the schema of columns that are read as strings."""
    return {name: pl.String() for name in columns}


def pick_columns(frame: pl.DataFrame, sources: Mapping[str, str]) -> pl.DataFrame:
    """Return a frame with the columns of `sources` (new name: column of the frame, null if absent) and LINE.

    Names are data here: `*` or `^a.*$` is the column of that name, not a pattern.
    """
    absent = pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
    columns = {name: frame[source] if source in frame.columns else absent for name, source in sources.items()}
    return pl.DataFrame({**columns, LINE: frame[LINE]})


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

    def report(self, path: Path, line: int, problem: str, remedy: str = "") -> None:
        """Count a line as dropped.

        Args:
            path: the file.
            line: the line number.
            problem: what is wrong.
            remedy: what to do first, where correcting the line is not the usual remedy.

        Raises:
            DataError: no more lines may be dropped; names file, line and problem.
        """
        place = f"{shortened(path)}: line {line}: {shortened(problem)}"
        if self.allowed is not None and self.count < self.allowed:
            self.count += 1
            if len(self.examples) < 5:
                self.examples.append(place)
            return
        spent = f" (already dropped {self.count} lines)" if self.count else ""
        remedy = remedy or "correct the line"
        if self.allowed is not None and "--encoding" not in remedy:  # dropping would lose the accented texts
            remedy += ", or drop up to N such lines with --skip-bad N"
        raise DataError(f"{place}{spent}; {remedy}")
