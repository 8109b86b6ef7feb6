"""From strings to reviews: the one place where users, ratings, times and texts of any source take their types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gavamoe.data.readers.bad_lines import BadLines
from gavamoe.data.readers.rows import LINE
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
# What sites put in the place of a name: such reviews are by as many people. Each gets its own name, which `assign_rows`
# gives the id of unknown users.
NO_NAMES = ("a tripadvisor member", "anonymous", "anonymous user")
ANONYMOUS = "<anonymous "
# Epochs beyond these are in milliseconds, microseconds, nanoseconds: as seconds they would lie after the year 5000.
EPOCH_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


@dataclass
class ReadStats:
    """What reading found worth reporting, counted over all rows and files."""

    rows: int = 0
    empty_texts: int = 0
    cleaned_texts: int = 0
    unread_times: int = 0
    unread_time: str = ""  # the first of them, and where it is
    anonymous: int = 0
    empty_files: int = 0


def to_reviews(batch: pl.DataFrame, path: Path, bad: BadLines, notes: ReadStats) -> pl.DataFrame:
    """Give a batch of strings the types of REVIEW_SCHEMA.

    Args:
        batch: the columns of REVIEW_SCHEMA that the source has, as strings, and `line`.
        path: the file, for messages.
        bad: rows without user, item or rating, or with an unknown split, are reported here and dropped.
        notes: counts are added here.
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
    typed = _name_apart(typed, notes)
    notes.rows += typed.height
    notes.empty_texts += int((typed["text"] == "").sum())
    notes.cleaned_texts += int((typed["text"] != batch["text"]).sum())
    _note_unread_times(batch, typed, path, notes)
    return typed


def _note_unread_times(batch: pl.DataFrame, typed: pl.DataFrame, path: Path, notes: ReadStats) -> None:
    unread = (typed["timestamp"].is_null() & batch["timestamp"].is_not_null()).arg_true()
    notes.unread_times += len(unread)
    if len(unread) and not notes.unread_time:
        row = unread[0]
        notes.unread_time = f"{batch['timestamp'][row][:40]!r} ({path}: line {batch[LINE][row]})"


def _name_apart(typed: pl.DataFrame, notes: ReadStats) -> pl.DataFrame:
    """Give each review whose user is a placeholder a user of its own, numbered over all sources."""
    rows = typed["user"].str.to_lowercase().is_in(NO_NAMES).arg_true()
    if rows.is_empty():
        return typed
    numbers = range(notes.anonymous + 1, notes.anonymous + 1 + len(rows))
    notes.anonymous += len(rows)
    return typed.with_columns(typed["user"].scatter(rows, [f"{ANONYMOUS}{number}>" for number in numbers]))


def _drop_bad(batch: pl.DataFrame, typed: pl.DataFrame, path: Path, bad: BadLines) -> pl.Series:
    """Report the rows that cannot be used, in their order; return which can."""
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
    """Epoch numbers of any unit, ISO dates and the written dates of the public sets, as seconds since 1970 UTC."""
    number = time.cast(pl.Float64, strict=False)
    unit = pl.lit(1.0)
    for beyond, per_second in reversed(EPOCH_UNITS):
        unit = pl.when(number.abs() > beyond).then(per_second).otherwise(unit)
    seconds = pl.select((pl.lit(number) / unit).floor().cast(pl.Int64, strict=False).alias("timestamp")).to_series()
    if number.is_between(*DATE_NUMBERS).any():
        seconds = _first_known(_dates_as_numbers(number), seconds)
    # Only where some are left is it worth trying each written form on the whole column.
    for read in (_local, _zoned):
        if seconds.null_count() > time.null_count():
            seconds = _first_known(seconds, *map(_epoch, read(time)))
    return seconds


def _dates_as_numbers(number: pl.Series) -> pl.Series:
    """Read 20200131 as that day; as seconds it would lie in August 1970."""
    digits = number.set(~number.is_between(*DATE_NUMBERS), None).cast(pl.Int64).cast(pl.String)
    return _epoch(digits.str.to_date("%Y%m%d", strict=False))


def _local(time: pl.Series) -> Iterator[pl.Series]:
    yield from (time.str.to_datetime(form, strict=False, time_unit="us") for form in TIME_FORMATS)
    yield from (time.str.to_date(form, strict=False) for form in DATE_FORMATS)


def _zoned(time: pl.Series) -> Iterator[pl.Series]:
    """Read times that say how far from UTC they are, and those without seconds."""
    plain = time.str.replace(r"^(\d{4}-\d\d-\d\d)[Tt]", "$1 ").str.replace(r"\s*(?:Z|z|UTC|GMT)$", "+00:00")
    plain = plain.str.replace(r"\s+([+-]\d\d:?\d\d)$", "$1")
    for form in ("%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%d %H:%M%z"):
        yield plain.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")
    yield plain.str.to_datetime("%Y-%m-%d %H:%M", strict=False, time_unit="us")


def _epoch(time: pl.Series) -> pl.Series:
    return time.cast(pl.Datetime("us", getattr(time.dtype, "time_zone", None))).dt.epoch("s").cast(pl.Int64)


def _first_known(*columns: pl.Series) -> pl.Series:
    return pl.select(pl.coalesce(*columns).alias("timestamp")).to_series()
