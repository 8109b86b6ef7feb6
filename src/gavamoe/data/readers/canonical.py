"""Convert rows of strings to typed reviews: users, ratings, times and texts of every source get their types here.

Batches are typed one by one; `settle` then decides what only the whole column tells, such as day or month first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.data.readers.placeholders import ANONYMOUS_PREFIX, blank_missing, is_nobody, plain_name
from gavamoe.data.readers.ratings import parse_ratings, settle_ratings
from gavamoe.data.readers.rows import LINE, BadLines
from gavamoe.data.readers.times import check_time_format, parse_times, settle_times
from gavamoe.features.cleaning import clean_texts

__all__ = [
    "ANONYMOUS_PREFIX",
    "REVIEW_SCHEMA",
    "UNSETTLED",
    "ReadRules",
    "ReadStats",
    "Settled",
    "renumber_anonymous",
    "settle",
    "to_reviews",
]

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
# What the whole column decides: the end of the scale that a rating names, and times that wait.
UNSETTLED = {"out_of": pl.Float32(), "time_text": pl.String()}
SPLIT_NAMES = {"train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid"}
SPLIT_NAMES |= {"dev": "valid", "test": "test"}


@dataclass(frozen=True)
class ReadRules:
    """What the user said about the values of a file.

    Args:
        ratings: what words are worth as ratings, casefolded.
        unrated: ratings that stand for "not rated"; these reviews are dropped.
        anonymous: further names of nobody, beside the placeholders that are known.
        time_format: how times are written; empty to find it.
    """

    ratings: Mapping[str, float] = field(default_factory=dict)
    unrated: tuple[float, ...] = ()
    anonymous: tuple[str, ...] = ()
    time_format: str = ""

    def __post_init__(self) -> None:
        if self.time_format:
            check_time_format(self.time_format)

    def to_json(self) -> dict[str, Any]:
        """Return the rules that the user gave, as a JSON value; empty if there are none."""
        rules = {
            "ratings": dict(self.ratings),
            "unrated": list(self.unrated),
            "anonymous": list(self.anonymous),
            "time_format": self.time_format,
        }
        return {name: value for name, value in rules.items() if value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ReadRules:
        """Rebuild the rules from the value that `to_json` returned."""
        return cls(
            dict(value.get("ratings", {})),
            tuple(value.get("unrated", ())),
            tuple(value.get("anonymous", ())),
            value.get("time_format", ""),
        )


@dataclass
class ReadStats:
    """Counts over all rows and files that were read.

    Args:
        rows: reviews read.
        empty_texts: reviews without text.
        cleaned_texts: texts that cleaning changed.
        missing_texts: texts that were a word for a missing value, such as nan; they count as empty.
        unparsed_times: times in no known format.
        first_unparsed_time: the first of these times, with file and line; empty if there is none.
        anonymous: reviews by anonymous users.
        placeholders: how often each placeholder of a user occurred.
        unrated: reviews dropped because their rating stands for "not rated".
        written_ratings: ratings that name the end of their scale, or are a yes or no.
        waiting_times: times that only the whole column tells.
        times: times given, of any form.
        empty_files: files without reviews.
    """

    rows: int = 0
    empty_texts: int = 0
    cleaned_texts: int = 0
    missing_texts: int = 0
    unparsed_times: int = 0
    first_unparsed_time: str = ""
    anonymous: int = 0
    placeholders: dict[str, int] = field(default_factory=dict)
    unrated: int = 0
    written_ratings: int = 0
    waiting_times: int = 0
    times: int = 0
    empty_files: int = 0

    def add(self, other: ReadStats) -> None:
        """Add the counts of rows that were read elsewhere, behind those of `self`."""
        for each in fields(self):
            if each.type == "int":
                setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        self.first_unparsed_time = self.first_unparsed_time or other.first_unparsed_time
        for name, count in other.placeholders.items():
            self.placeholders[name] = self.placeholders.get(name, 0) + count


def renumber_anonymous(reviews: pl.DataFrame, first: int, last: int, before: int) -> pl.DataFrame:
    """Return reviews whose anonymous users `first` to `last` have numbers that are larger by `before`."""
    user = pl.col("user")
    number = user.str.extract(f"^{ANONYMOUS_PREFIX}([0-9]+)>$").cast(pl.Int64, strict=False)
    renamed = pl.format(ANONYMOUS_PREFIX + "{}>", number + before)
    return reviews.with_columns(pl.when(number.is_between(first, last)).then(renamed).otherwise(user))


def to_reviews(
    batch: pl.DataFrame, path: Path, bad: BadLines, stats: ReadStats, rules: ReadRules | None = None
) -> pl.DataFrame:
    """Convert a batch of strings to the types of REVIEW_SCHEMA and UNSETTLED.

    Args:
        batch: the columns of REVIEW_SCHEMA that the source has, as strings, and LINE.
        path: the file, for messages.
        bad: rows without user, item or rating, or with an unknown split, are reported here and dropped.
        stats: the counts of the batch are added here.
        rules: what the user said about the values.

    Returns:
        The usable rows, with the columns of REVIEW_SCHEMA and UNSETTLED; missing ones are null, a missing text is
        empty.

    Raises:
        DataError: a row cannot be used and no more rows may be dropped.
    """
    rules = rules or ReadRules()
    batch = batch.with_columns(
        pl.lit(None, pl.String).alias(name) for name in REVIEW_SCHEMA if name not in batch.columns
    )
    given = batch.with_columns(
        plain_name(batch["user"]),
        blank_missing(plain_name(batch["item"])),
        blank_missing(batch["rating"].str.strip_chars()),
        *(blank_missing(batch[name].str.strip_chars()) for name in ("timestamp", "sentiment", "split")),
    )
    texts = clean_texts(batch["text"])
    named = blank_missing(texts)
    stats.missing_texts += int(named.null_count())
    ratings = parse_ratings(given["rating"], rules.ratings)
    seconds, waiting = parse_times(given["timestamp"], rules.time_format)
    typed = given.select(
        "user",
        "item",
        ratings["rating"],
        named.fill_null("").alias("text"),
        *(
            blank_missing(plain_name(batch[name])).str.to_lowercase().replace("", None)
            for name in ("feature", "opinion")
        ),
        pl.col("sentiment").cast(pl.Float32, strict=False).sign().cast(pl.Int8, strict=False),
        seconds.alias("timestamp"),
        pl.col("split").str.to_lowercase().replace_strict(SPLIT_NAMES, default=None),
        pl.col(LINE),
        ratings["out_of"],
        waiting,
    )
    rated = ~typed["rating"].is_in(list(rules.unrated)).fill_null(value=False)
    if rules.unrated and not rated.all():
        stats.unrated += int((~rated).sum())
        typed, batch, given = (frame.filter(rated) for frame in (typed, batch, given))
    usable = _drop_bad(given, typed, path, bad, batch["item"])
    if not usable.all():
        typed, batch, given = (frame.filter(usable) for frame in (typed, batch, given))
    typed = _name_anonymous_users(typed, stats, rules.anonymous)
    stats.rows += typed.height
    stats.empty_texts += int((typed["text"] == "").sum())
    stats.cleaned_texts += int((typed["text"] != batch["text"]).sum())
    stats.written_ratings += typed.height - typed["out_of"].null_count()
    stats.waiting_times += typed.height - typed["time_text"].null_count()
    stats.times += typed.height - given["timestamp"].null_count()
    _count_unparsed_times(given, typed, path, stats)
    return typed


@dataclass(frozen=True)
class Settled:
    """What the whole columns told.

    Args:
        rows: rating and timestamp, final, of every row.
        wrong: the rows whose ratings do not belong to the others, bool [n].
        high: the end of the scale that the ratings name; None for bare numbers.
        notes: how ratings and times were understood, by review column; only what is not plain.
        ambiguous_time: a time whose day and month cannot be told apart; empty if there is none.
    """

    rows: pl.DataFrame
    wrong: pl.Series
    high: float | None
    notes: dict[str, str]
    ambiguous_time: str = ""


def settle(rows: pl.DataFrame, rules: ReadRules) -> Settled:
    """Decide about the ratings and times that waited for the whole column.

    Args:
        rows: rating, timestamp, out_of, time_text of all rows.
        rules: what the user said about the values.
    """
    ratings = settle_ratings(rows["rating"], rows["out_of"])
    times = settle_times(rows["timestamp"], rows["time_text"], rules.time_format)
    notes = {"rating": ratings.note, "timestamp": times.note}
    return Settled(
        pl.DataFrame([ratings.rating.alias("rating"), times.timestamp.alias("timestamp")]),
        ratings.wrong,
        ratings.high,
        {column: note for column, note in notes.items() if note},
        times.ambiguous,
    )


def _count_unparsed_times(given: pl.DataFrame, typed: pl.DataFrame, path: Path, stats: ReadStats) -> None:
    """Count the times that were not parsed, and keep the first for a message."""
    absent = typed["timestamp"].is_null() & typed["time_text"].is_null()
    unparsed = (absent & given["timestamp"].is_not_null()).arg_true()
    stats.unparsed_times += len(unparsed)
    if len(unparsed) and not stats.first_unparsed_time:
        row = unparsed[0]
        stats.first_unparsed_time = f"{given['timestamp'][row][:40]!r} ({path}: line {given[LINE][row]})"


def _name_anonymous_users(typed: pl.DataFrame, stats: ReadStats, further: tuple[str, ...]) -> pl.DataFrame:
    """Give each review of an anonymous user a user name of its own, numbered over all sources."""
    nobody = is_nobody(typed["user"], further)
    rows = nobody.arg_true()
    if rows.is_empty():
        return typed
    for name, count in typed["user"].filter(nobody).value_counts().iter_rows():
        stats.placeholders[name] = stats.placeholders.get(name, 0) + count
    numbers = range(stats.anonymous + 1, stats.anonymous + 1 + len(rows))
    stats.anonymous += len(rows)
    return typed.with_columns(typed["user"].scatter(rows, [f"{ANONYMOUS_PREFIX}{number}>" for number in numbers]))


def _drop_bad(batch: pl.DataFrame, typed: pl.DataFrame, path: Path, bad: BadLines, items: pl.Series) -> pl.Series:
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
            what = (
                "no rating" if given is None else f"rating {given[:40]!r} is not a number{_advice(batch, typed, bad)}"
            )
        elif what == "no item" and items[row] and items[row].strip():
            what = f"no item ({items[row].strip()[:40]!r} stands for a missing value)"
        elif what == "split":
            given = batch["split"][row][:40]
            what = f"split {given!r} is unknown: expected train, valid or test; --split-col none leaves the column out"
        bad.report(path, line, what)
    return problem.is_null()


def _advice(given: pl.DataFrame, typed: pl.DataFrame, bad: BadLines) -> str:
    """Return how to say what the words among the ratings are worth, where the command can be told."""
    words = given["rating"].filter(typed["rating"].is_null()).drop_nulls().unique(maintain_order=True)
    if bad.allowed is None or bad.count or not 2 <= len(words) <= 20:
        return ""
    listed = ",".join(f"{word[:20]}=.." for word in words.sort().to_list()[:8])
    return f' (say what each word is worth: --ratings "{listed}")'
