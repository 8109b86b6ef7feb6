"""A file of raw reviews as one frame, for evaluating a trained run on reviews that were never prepared."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from gavamoe.data.readers.bad_lines import BadLines
from gavamoe.data.readers.canonical import REVIEW_SCHEMA, ReadStats
from gavamoe.data.readers.open import ReadOptions, open_reviews
from gavamoe.data.readers.rows import LINE
from gavamoe.errors import DataError


def read_reviews(path: Path | str) -> pl.DataFrame:
    """Read reviews from JSON lines, CSV, TSV or Parquet, plain, gzip or zstd, in any known layout.

    Returns:
        user, item (strings), rating (Float32, as given), text (empty where absent), and feature, opinion, sentiment (1,
        0, -1), timestamp (seconds) and split (train, valid, test) where the file has them.

    Raises:
        DataError: the file cannot be read; names the line and what was expected there.
    """
    path = Path(path)
    bad, notes = BadLines(), ReadStats()
    source = open_reviews(path, ReadOptions(), bad)
    frame = pl.concat([pl.DataFrame(schema=REVIEW_SCHEMA), *source.reviews(bad, notes)]).drop(LINE)
    if frame.is_empty():
        raise DataError(f"{path} has no reviews")
    absent = [
        name
        for name in ("feature", "opinion", "sentiment", "timestamp", "split")
        if frame[name].null_count() == frame.height
    ]
    return frame.drop(absent)
