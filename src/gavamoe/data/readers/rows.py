"""What every reader offers: the columns of a file, and its rows in batches of strings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import polars as pl

LINE = "line"


class Rows(Protocol):
    """A file of records.

    Attributes:
        path: the file.
        columns: the columns found; a nested field is written with a dot, as in `author.username`.
    """

    path: Path
    columns: list[str]

    def batches(self, wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the wanted columns as strings (null where absent) and `line`, the number of the line in the file."""
        ...


def strings(wanted: Sequence[str]) -> dict[str, pl.DataType]:
    """The schema of wanted columns read as strings."""
    return {name: pl.String() for name in wanted}
