"""Ingesting: every source file, batch by batch, into typed Parquet parts; the only pass that parses text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from gavamoe.data.ahead import ahead
from gavamoe.data.bad_lines import BadLines
from gavamoe.data.readers.canonical import Notes
from gavamoe.data.readers.open import ReviewSource
from gavamoe.data.readers.rows import LINE
from gavamoe.data.texts import count_words
from gavamoe.errors import DataError

FILE = "file"


@dataclass
class Ingested:
    """The reviews of all sources as Parquet parts, in the order of the sources.

    Attributes:
        directory: holds the parts.
        sources: the files; a row's `file` is the place in this list.
        notes, bad: what reading found.
    """

    directory: Path
    sources: list[ReviewSource]
    notes: Notes = field(default_factory=Notes)
    bad: BadLines = field(default_factory=BadLines)

    def scan(self) -> pl.LazyFrame:
        """Return all rows, lazily: the columns of REVIEW_SCHEMA, `file` and `words`."""
        return pl.scan_parquet(self.directory / "*.parquet")

    def parts(self) -> Iterator[pl.DataFrame]:
        """Yield the rows, a part at a time, without what was only needed to decide on them."""
        for path in sorted(self.directory.glob("*.parquet")):
            yield pl.read_parquet(path).drop("split", FILE, LINE)

    def place(self, file: int, line: int) -> str:
        """Return where a row came from, for messages."""
        return f"{self.sources[file].rows.path}: line {line}"


def ingest(
    sources: Sequence[ReviewSource], directory: Path, bad: BadLines, on_rows: Callable[[int], None] | None = None
) -> Ingested:
    """Write the reviews of the sources as parts in `directory`.

    Args:
        on_rows: called with the number of rows after each part, for progress.

    Raises:
        DataError: a source cannot be read, or there is no review in any.
    """
    directory.mkdir()
    ingested = Ingested(directory, list(sources), bad=bad)
    part = 0
    for number, source in enumerate(sources):
        for batch in ahead(source.reviews(bad, ingested.notes)):
            if batch.is_empty():
                continue
            # Uncompressed: these parts are read once and removed, so speed counts and size does not. Arrow files are
            # quicker still, but are mapped, and all of them stay in memory.
            batch.with_columns(pl.lit(number, pl.UInt16).alias(FILE), count_words(batch["text"])).write_parquet(
                directory / f"{part:06}.parquet", compression="uncompressed", statistics=False
            )
            part += 1
            if on_rows:
                on_rows(batch.height)
    if not part:
        raise DataError(f"{sources[0].rows.path} has no reviews")
    return ingested


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as it lies on disk (compressed where it is)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
