"""Ingest every source file, batch by batch, into typed Parquet parts; the only pass that parses the sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from gavamoe.data.readers.canonical import UNSETTLED, ReadStats
from gavamoe.data.readers.open import ReviewSource
from gavamoe.data.readers.prefetch import prefetch
from gavamoe.data.readers.rows import LINE, BadLines
from gavamoe.errors import DataError
from gavamoe.features.cleaning import count_words

FILE = "file"


class ReadParts(Protocol):
    """Reads sources, batch by batch."""

    def __call__(self, ingested: Ingested) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield the position of a source and a batch of its reviews with `words`, in the order of the sources.

        The counts and bad lines of `ingested` grow with the batches; each source's reading is then complete.
        """
        ...


@dataclass
class Ingested:
    """The reviews of all sources as Parquet parts, in the order of the sources.

    Attributes:
        directory: the directory of the parts.
        sources: the files; the column `file` of a row is a position in this list.
        stats: counts of what was read.
        bad: the unusable lines.
    """

    directory: Path
    sources: list[ReviewSource]
    stats: ReadStats = field(default_factory=ReadStats)
    bad: BadLines = field(default_factory=BadLines)

    def scan(self) -> pl.LazyFrame:
        """Return all rows as a lazy frame with the columns of REVIEW_SCHEMA, `file` and `words`."""
        return pl.scan_parquet(self.paths(), glob=False)

    def parts(self) -> Iterator[pl.DataFrame]:
        """Yield the rows part by part, without the columns that only the assignment needs."""
        for path in self.paths():
            yield pl.read_parquet(path, glob=False).drop("split", FILE, LINE, *UNSETTLED)

    def replace(self, columns: pl.DataFrame) -> None:
        """Replace columns of all rows, given in their order."""
        start = 0
        for path in self.paths():
            part = pl.read_parquet(path, glob=False)
            _write_part(part.with_columns(columns[start : start + part.height]), path)
            start += part.height

    def drop(self, rows: np.ndarray) -> None:
        """Remove rows, given by their positions among all rows, from the parts."""
        start = 0
        for path in self.paths():
            size = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
            positions = rows[(rows >= start) & (rows < start + size)] - start
            start += size
            if len(positions):
                part = pl.read_parquet(path, glob=False)
                kept = np.ones(size, dtype=bool)
                kept[positions] = False
                self.stats.rows -= len(positions)
                self.stats.empty_texts -= int((part["text"].filter(~kept) == "").sum())
                _write_part(part.filter(kept), path)

    def paths(self) -> list[Path]:
        """Return the parts in order."""
        return sorted(self.directory.glob("*.parquet"))


def ingest(
    sources: Sequence[ReviewSource],
    directory: Path,
    bad: BadLines,
    on_rows: Callable[[int], None] | None = None,
    limit: int | None = None,
    read_parts: ReadParts | None = None,
) -> Ingested:
    """Write the reviews of the sources as parts in a directory.

    Args:
        sources: open files of reviews.
        directory: the directory, which is created.
        bad: collects the unusable lines.
        on_rows: called with the number of rows of each part, for progress.
        limit: read so many rows of each source; None for all.
        read_parts: how sources are read; None reads them here.

    Raises:
        DataError: a source cannot be read, or no source has a review.
    """
    directory.mkdir()
    ingested = Ingested(directory, list(sources), bad=bad)
    part = 0
    for number, batch in (read_parts or partial(read_here, limit=limit))(ingested):
        _write_part(batch.with_columns(pl.lit(number, pl.UInt16).alias(FILE)), directory / f"{part:06}.parquet")
        part += 1
        if on_rows:
            on_rows(batch.height)
    if not part:
        raise DataError(f"{sources[0].reader.path} has no reviews")
    return ingested


def read_here(ingested: Ingested, limit: int | None = None) -> Iterator[tuple[int, pl.DataFrame]]:
    """Read the sources in this process (`ReadParts`); of each at most `limit` rows and the rest of a batch."""
    for number, source in enumerate(ingested.sources):
        read = 0
        for batch in prefetch(source.reviews(ingested.bad, ingested.stats)):
            read += batch.height
            if not batch.is_empty():
                yield number, batch.with_columns(count_words(batch["text"]))
            if limit is not None and read >= limit:
                break


def _write_part(rows: pl.DataFrame, path: Path) -> None:
    # Uncompressed, since the parts are temporary: speed matters and size does not. Arrow files are faster, but they are
    # memory-mapped, and all of them would stay in memory.
    rows.write_parquet(path, compression="uncompressed", statistics=False)
