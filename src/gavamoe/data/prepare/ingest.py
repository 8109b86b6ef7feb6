"""Ingesting: every source file, batch by batch, into typed Parquet parts; the only pass that parses text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from gavamoe.data.readers.bad_lines import BadLines
from gavamoe.data.readers.canonical import ReadStats
from gavamoe.data.readers.open import ReviewSource
from gavamoe.data.readers.prefetch import prefetch
from gavamoe.data.readers.rows import LINE
from gavamoe.errors import DataError
from gavamoe.features.cleaning import count_words

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
    notes: ReadStats = field(default_factory=ReadStats)
    bad: BadLines = field(default_factory=BadLines)

    def scan(self) -> pl.LazyFrame:
        """Return all rows, lazily: the columns of REVIEW_SCHEMA, `file` and `words`."""
        return pl.scan_parquet(self._paths(), glob=False)

    def parts(self) -> Iterator[pl.DataFrame]:
        """Yield the rows, a part at a time, without what was only needed to decide on them."""
        for path in self._paths():
            yield pl.read_parquet(path, glob=False).drop("split", FILE, LINE)

    def drop(self, rows: np.ndarray) -> None:
        """Take rows, by their places in all, out of the parts that hold them."""
        start = 0
        for path in self._paths():
            size = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
            places = rows[(rows >= start) & (rows < start + size)] - start
            start += size
            if len(places):
                part = pl.read_parquet(path, glob=False)
                kept = np.ones(size, dtype=bool)
                kept[places] = False
                self.notes.rows -= len(places)
                self.notes.empty_texts -= int((part["text"].filter(~kept) == "").sum())
                _write_part(part.filter(kept), path)

    def _paths(self) -> list[Path]:
        return sorted(self.directory.glob("*.parquet"))


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
        for batch in prefetch(source.reviews(bad, ingested.notes)):
            if batch.is_empty():
                continue
            rows = batch.with_columns(pl.lit(number, pl.UInt16).alias(FILE), count_words(batch["text"]))
            _write_part(rows, directory / f"{part:06}.parquet")
            part += 1
            if on_rows:
                on_rows(batch.height)
    if not part:
        raise DataError(f"{sources[0].rows.path} has no reviews")
    return ingested


def _write_part(rows: pl.DataFrame, path: Path) -> None:
    # Uncompressed: these parts are read once and removed, so speed counts and size does not. Arrow files are quicker
    # still, but are mapped, and all of them stay in memory.
    rows.write_parquet(path, compression="uncompressed", statistics=False)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as it lies on disk (compressed where it is)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
