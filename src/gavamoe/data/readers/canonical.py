"""Convert rows of strings to typed reviews: users, ratings, times and texts of every source get their types here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gavamoe.data.readers.rows import LINE, BadLines
from gavamoe.features.cleaning import clean_texts

REVIEW_SCHEMA = {
    "user": pl.String(),
    "item": pl.String(),
    "rating": pl.Float32(),
    "text": pl.String(),
    "feature": pl.String(),
    "opinion": pl.String(),
    "sentiment": pl.Int8(),
    "timestamp": pl.Int64(),
    "split": pl.String(),
    LINE: pl.UInt32(),
}
SPLIT_NAMES = {"train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid"}
SPLIT_NAMES |= {"dev": "valid", "test": "test"}
TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.fZ")
DATE_FORMATS = ("%Y-%m-%d", "%m %d, %Y", "%B %d, %Y", "%Y/%m/%d")
DATE_NUMBERS = (19000101, 20991231)
# Names that sites show for anonymous users. Each such review gets a user name of its own with ANONYMOUS_PREFIX, and
# `assign_rows` gives these users the id of unknown users.
ANONYMOUS_NAMES = ("a tripadvisor member", "anonymous", "anonymous user")
ANONYMOUS_PREFIX = "<anonymous "
# Epochs above these limits are in nanoseconds, microseconds or milliseconds: as seconds they lie after the year 5000.
EPOCH_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


@dataclass
class ReadStats:
    """Counts over all rows and files that were read.

    Args:
        rows: reviews read.
        empty_texts: reviews without text.
        cleaned_texts: texts that cleaning changed.
        unparsed_times: times in no known format.
        first_unparsed_time: the first of these times, with file and line; empty if there is none.
        anonymous: reviews by anonymous users.
        empty_files: files without reviews.
    """

    rows: int = 0
    empty_texts: int = 0
    cleaned_texts: int = 0
    unparsed_times: int = 0
    first_unparsed_time: str = ""
    anonymous: int = 0
    empty_files: int = 0


def to_reviews(batch: pl.DataFrame, path: Path, bad: BadLines, stats: ReadStats) -> pl.DataFrame:
    """Convert a batch of strings to the types of REVIEW_SCHEMA.

    Args:
        batch: the columns of REVIEW_SCHEMA that the source has, as strings, and `line`.
        path: the file, for messages.
        bad: rows without user, item or rating, or with an unknown split, are reported here and dropped.
        stats: the counts of the batch are added here.

    Returns:
        The usable rows, with the columns of REVIEW_SCHEMA; missing ones are null, a missing text is empty.

    Raises:
        DataError: a row cannot be used and no more rows may be dropped.
    """
    batch = batch.with_columns(
        pl.lit(None, pl.String).alias(name) for name in REVIEW_SCHEMA if name not in batch.columns
    )
    typed = batch.select(
        pl.col("user", "item").str.strip_chars(),
        pl.col("rating").str.strip_chars().cast(pl.Float32, strict=False),
        clean_texts(batch["text"]),
        pl.col("feature", "opinion").str.strip_chars().str.to_lowercase().replace("", None),
        pl.col("sentiment").str.strip_chars().cast(pl.Float32, strict=False).sign().cast(pl.Int8, strict=False),
        _seconds(batch["timestamp"].str.strip_chars()),
        pl.col("split").str.strip_chars().str.to_lowercase().replace_strict(SPLIT_NAMES, default=None),
        pl.col(LINE),
    )
    usable = _drop_bad(batch, typed, path, bad)
    if not usable.all():
        typed, batch = typed.filter(usable), batch.filter(usable)
    typed = _name_anonymous_users(typed, stats)
    stats.rows += typed.height
    stats.empty_texts += int((typed["text"] == "").sum())
    stats.cleaned_texts += int((typed["text"] != batch["text"]).sum())
    _count_unparsed_times(batch, typed, path, stats)
    return typed


def _count_unparsed_times(batch: pl.DataFrame, typed: pl.DataFrame, path: Path, stats: ReadStats) -> None:
    """Count the times that were not parsed, and keep the first for a message."""
    unparsed = (typed["timestamp"].is_null() & batch["timestamp"].is_not_null()).arg_true()
    stats.unparsed_times += len(unparsed)
    if len(unparsed) and not stats.first_unparsed_time:
        row = unparsed[0]
        stats.first_unparsed_time = f"{batch['timestamp'][row][:40]!r} ({path}: line {batch[LINE][row]})"


def _name_anonymous_users(typed: pl.DataFrame, stats: ReadStats) -> pl.DataFrame:
    """Give each review of an anonymous user a user name of its own, numbered over all sources."""
    rows = typed["user"].str.to_lowercase().is_in(ANONYMOUS_NAMES).arg_true()
    if rows.is_empty():
        return typed
    numbers = range(stats.anonymous + 1, stats.anonymous + 1 + len(rows))
    stats.anonymous += len(rows)
    return typed.with_columns(typed["user"].scatter(rows, [f"{ANONYMOUS_PREFIX}{number}>" for number in numbers]))


def _drop_bad(batch: pl.DataFrame, typed: pl.DataFrame, path: Path, bad: BadLines) -> pl.Series:
    """Report the unusable rows in order; return which rows are usable, bool [n]."""
    problem = typed.select(
        pl.when(pl.col("user").is_null() | (pl.col("user") == ""))
        .then(pl.lit("no user"))
        .when(pl.col("item").is_null() | (pl.col("item") == ""))
        .then(pl.lit("no item"))
        .when(pl.col("rating").is_null() | ~pl.col("rating").is_finite())
        .then(pl.lit("rating"))
        .when(pl.col("split").is_null() & batch["split"].is_not_null())
        .then(pl.lit("split"))
        .alias("problem")
    )["problem"]
    for row in problem.is_not_null().arg_true():
        what, line = problem[row], batch[LINE][row]
        if what == "rating":
            given = batch["rating"][row]
            what = "no rating" if given is None else f"rating {given[:40]!r} is not a number"
        elif what == "split":
            what = f"split {batch['split'][row][:40]!r} is unknown: expected train, valid or test"
        bad.report(path, line, what)
    return problem.is_null()


def _seconds(time: pl.Series) -> pl.Series:
    """Parse times as seconds since 1970 UTC: epochs of any unit, ISO times and the date formats of the public sets."""
    number = time.cast(pl.Float64, strict=False)
    unit = pl.lit(1.0)
    for beyond, per_second in reversed(EPOCH_UNITS):
        unit = pl.when(number.abs() > beyond).then(per_second).otherwise(unit)
    seconds = pl.select((pl.lit(number) / unit).floor().cast(pl.Int64, strict=False).alias("timestamp")).to_series()
    if number.is_between(*DATE_NUMBERS).any():
        seconds = _coalesce(_dates_as_numbers(number), seconds)
    # The date formats are tried on the whole column only if some times are still unparsed.
    for parse in (_local, _zoned):
        if seconds.null_count() > time.null_count():
            seconds = _coalesce(seconds, *map(_epoch, parse(time)))
    return seconds


def _dates_as_numbers(number: pl.Series) -> pl.Series:
    """Parse numbers such as 20200131 as dates; read as seconds, they would lie in August 1970."""
    digits = number.set(~number.is_between(*DATE_NUMBERS), None).cast(pl.Int64).cast(pl.String)
    return _epoch(digits.str.to_date("%Y%m%d", strict=False))


def _local(time: pl.Series) -> Iterator[pl.Series]:
    """Parse the column by each format without a time zone, read as UTC."""
    yield from (time.str.to_datetime(form, strict=False, time_unit="us") for form in TIME_FORMATS)
    yield from (time.str.to_date(form, strict=False) for form in DATE_FORMATS)


def _zoned(time: pl.Series) -> Iterator[pl.Series]:
    """Parse the column by each format with a UTC offset, and by the format without seconds."""
    plain = time.str.replace(r"^(\d{4}-\d\d-\d\d)[Tt]", "$1 ").str.replace(r"\s*(?:Z|z|UTC|GMT)$", "+00:00")
    plain = plain.str.replace(r"\s+([+-]\d\d:?\d\d)$", "$1")
    for form in ("%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%d %H:%M%z"):
        yield plain.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")
    yield plain.str.to_datetime("%Y-%m-%d %H:%M", strict=False, time_unit="us")


def _epoch(time: pl.Series) -> pl.Series:
    """Convert dates or times to seconds since 1970."""
    return time.cast(pl.Datetime("us", getattr(time.dtype, "time_zone", None))).dt.epoch("s").cast(pl.Int64)


def _coalesce(*columns: pl.Series) -> pl.Series:
    """Return the first value that is not null in each row."""
    return pl.select(pl.coalesce(*columns).alias("timestamp")).to_series()
