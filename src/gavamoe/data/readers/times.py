"""Times as people write them: epochs of any unit, ISO times, dates in the usual written forms and several languages.

parse_times    each value that stands for one time by itself; the others wait, as text, for the whole column
settle_times   what only the column tells: day or month first, years, spreadsheet days, small numbers
"""

from __future__ import annotations

import calendar
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import polars as pl

from gavamoe.errors import DataError

TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.fZ")
DATE_FORMATS = ("%Y-%m-%d", "%m %d, %Y", "%B %d, %Y", "%Y/%m/%d")
ZONED_FORMATS = ("%a %b %d %H:%M:%S %z %Y", "%a, %d %b %Y %H:%M:%S %z")  # Goodreads, RFC 2822
DATE_NUMBERS = (19000101, 20991231)
# Epochs above these limits are in nanoseconds, microseconds or milliseconds: as seconds they lie after the year 5000.
EPOCH_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
# Numbers below are epochs of before March 1973, years, spreadsheet days or something else: the column tells.
FIRST_CLEAR_EPOCH = 1e8
YEARS = (1950, 2100)
SPREADSHEET_DAYS = (18264, 73050)  # 1950-01-01 to 2099-12-31
SPREADSHEET_EPOCH = 25569  # the spreadsheet day of 1970-01-01
# No review is older or younger: such times are placeholders, 1900-01-01 among them, or misread, and count as not
# understood. `prepare` warns of those before 1950.
EARLIEST = int(datetime(1900, 1, 2, tzinfo=UTC).timestamp())
LATEST = int(datetime(2101, 1, 1, tzinfo=UTC).timestamp())
# One order of day and month needs so many times the evidence of the other one.
DOMINANCE = 20
FIRST_OF_CENTURY = 50  # two-digit years from 50 on are of the 20th century
NAMED_FORMATS = ("day-first", "month-first", "year-first", "seconds", "milliseconds", "years", "spreadsheet-days")

CLOCK = r"(?P<hour>\d{1,2})[:.h](?P<minute>\d\d)(?:[:.](?P<second>\d\d)(?:[.,]\d+)?)?\s*(?P<half>[ap]\.?\s?m\.?)?"
NUMERIC = re.compile(
    r"^(?:\w+,?\s+)?(\d{1,2})\s?([/.\- ])\s?(\d{1,2})\s?[/.\- ]\s?(\d{4}|\d{2})\.?"
    rf"(?:[T,\s]+{CLOCK})?(?:\s*Z)?$",
    re.IGNORECASE,
)
YEAR_FIRST = re.compile(rf"^(\d{{4}})[-/.](\d{{1,2}})(?:[-/.](\d{{1,2}}))?(?:[T,\s]+{CLOCK})?(?:\s*Z)?$", re.IGNORECASE)
MONTH_YEAR = re.compile(r"^(\d{1,2})[-/.](\d{4})$")
HAN = re.compile(r"(\d{2,4})\s*[年년]\s*(\d{1,2})\s*[月월](?:\s*(\d{1,2})\s*[日号號일])?")
HAN_CLOCK = re.compile(r"(?P<hour>\d{1,2})[时時시点](?P<minute>\d{1,2})[分분]?(?:(?P<second>\d{1,2})[秒초])?")
COMPACT = re.compile(r"^(\d{4})(\d\d)(\d\d)T?(\d\d)(\d\d)(\d\d)?Z?$")
ANY_CLOCK = re.compile(CLOCK.replace("[:.h]", "[:h]", 1), re.IGNORECASE)
ZONE = re.compile(r"(?:UTC|GMT|\s|(?<=\d))(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d)\b|\b(?:UTC|GMT|Z)\b")
ZONES = {
    "EST": -5,
    "EDT": -4,
    "CST": -6,
    "CDT": -5,
    "MST": -7,
    "MDT": -6,
    "PST": -8,
    "PDT": -7,
    "CET": 1,
    "CEST": 2,
}
LONGEST = 90

_MONTHS = (
    "january jan janvier janv januar enero ene gennaio gen janeiro janner",
    "february feb februar fevrier fevr fev febrero febbraio fevereiro",
    "march mar marz mrz mars marzo marco maerz",
    "april apr avril avr abril abr aprile",
    "may mai mayo maggio mag maio",
    "june jun juni juin junio giugno giu junho",
    "july jul juli juillet juil julio luglio lug julho",
    "august aug aout agosto ago",
    "september sep sept septembre septiembre settembre set setembro",
    "october oct oktober okt octobre octubre ottobre ott outubro out",
    "november nov novembre noviembre novembro",
    "december dec dezember dez decembre diciembre dic dicembre dezembro",
)
MONTHS = {name: number for number, names in enumerate(_MONTHS, start=1) for name in names.split()}
WORD_OR_NUMBER = re.compile(r"\d+|[^\W\d_]+")


@dataclass(frozen=True)
class SettledTimes:
    """The times of a whole column.

    Args:
        timestamp: seconds since 1970, Int64 [n].
        note: how the waiting times were understood; empty if none waited.
        ambiguous: a time whose day and month the column does not tell apart; empty if there is none.
    """

    timestamp: pl.Series
    note: str = ""
    ambiguous: str = ""


def check_time_format(form: str) -> str:
    """Return a time format, a name of NAMED_FORMATS or a strptime pattern.

    Raises:
        DataError: it is neither.
    """
    if form in NAMED_FORMATS or "%" in form:
        return form
    raise DataError(
        f"--time-format {form}: expected {', '.join(NAMED_FORMATS)} or a pattern such as %d/%m/%Y or %d.%m.%Y %H:%M"
    )


def parse_times(time: pl.Series, form: str = "") -> tuple[pl.Series, pl.Series]:
    """Parse each time that stands for itself.

    Args:
        time: stripped strings, [n].
        form: the time format that the user named; empty to find it.

    Returns:
        Seconds since 1970 UTC, Int64 [n], null if not understood or waiting; and the waiting texts, null elsewhere.
    """
    nothing = pl.Series("time_text", [None], dtype=pl.String).new_from_index(0, len(time))
    if time.null_count() == len(time):
        return time.cast(pl.Int64), nothing
    if "%" in form:
        return _within(_by_pattern(time, form)), nothing
    if form:
        return pl.Series(time.name, [None], dtype=pl.Int64).new_from_index(0, len(time)), time.alias("time_text")
    number = time.cast(pl.Float64, strict=False)
    waiting = (number.abs() < FIRST_CLEAR_EPOCH) & ~number.is_between(*DATE_NUMBERS)
    seconds = _epochs(number.set(waiting.fill_null(value=False), None))
    if number.is_between(*DATE_NUMBERS).any():
        seconds = _coalesce(_dates_as_numbers(number), seconds)
    waiting = waiting.fill_null(value=False)
    # The written forms are tried on the whole column only if some times are still unparsed.
    for parse in (_local, _zoned):
        if seconds.null_count() > time.null_count() + waiting.sum():
            seconds = _coalesce(seconds, *(_within(_epoch(times)) for times in parse(time)))
    left = seconds.is_null() & time.is_not_null() & ~waiting
    if left.any():
        seconds, numeric = _by_hand(time, seconds, left)
        waiting = waiting | numeric
    return _within(seconds), nothing.set(waiting, None).zip_with(~waiting, time).alias("time_text")


def settle_times(timestamp: pl.Series, waiting: pl.Series, form: str = "") -> SettledTimes:
    """Parse the waiting times by what the whole column tells.

    Args:
        timestamp: seconds of the times that were clear, Int64 [n].
        waiting: texts of the others, [n], null elsewhere.
        form: the time format that the user named; empty to find it.

    Raises:
        DataError: the format needs numbers, or dates, and no time is one.
    """
    number = waiting.cast(pl.Float64, strict=False)
    texts = waiting.filter(waiting.is_not_null() & number.is_null())
    notes: list[str] = []
    seconds, ambiguous = timestamp, ""
    if number.null_count() < len(number):
        parsed, note = _numbers(number, form)
        seconds, notes = _coalesce(seconds, _within(parsed)), [note]
    if len(texts):
        order, note, ambiguous = _order(texts, form)
        unique = texts.unique().to_list()
        found = {text: _numeric_date(text, order) for text in unique}
        table = pl.DataFrame(
            {"text": unique, "found": [found[text] for text in unique]}, schema={"text": pl.String, "found": pl.Int64}
        )
        joined = waiting.alias("text").to_frame().join(table, on="text", how="left", maintain_order="left")["found"]
        seconds = _coalesce(seconds, _within(joined))
        notes.append(note)
    return SettledTimes(seconds.alias(timestamp.name), "; ".join(filter(None, notes)), ambiguous)


def _numbers(number: pl.Series, form: str) -> tuple[pl.Series, str]:
    """Parse small numbers: as years or spreadsheet days if all of them can be, else as seconds."""
    found = number.drop_nulls()
    years = bool((found.is_between(*YEARS) & (found == found.round())).all())
    if form == "years" or (not form and years):
        year = number.set(~number.is_between(*YEARS).fill_null(value=False), None).cast(pl.Int32)
        starts = pl.select(pl.datetime(pl.lit(year), 1, 1, time_unit="us")).to_series()
        return _epoch(starts), "years, as their first day"
    if form == "spreadsheet-days" or (not form and bool(found.is_between(*SPREADSHEET_DAYS).all())):
        return ((number - SPREADSHEET_EPOCH) * 86400).round().cast(pl.Int64), "days of a spreadsheet, 1 = 1900-01-01"
    unit = 1e3 if form == "milliseconds" else 1.0
    if form == "seconds" or unit > 1:
        return (number / unit).floor().cast(pl.Int64, strict=False), f"{form} since 1970"
    return _epochs(number), "seconds since 1970"


def _order(texts: pl.Series, form: str) -> tuple[str, str, str]:
    """Tell whether the day or the month comes first; returns the order of D, M and Y, a note, and an ambiguous text."""
    if form == "day-first":
        return "DMY", "day first, as --time-format says", ""
    if form == "month-first":
        return "MDY", "month first, as --time-format says", ""
    if form == "year-first":
        return "YMD", "year first, as --time-format says", ""
    parts = texts.str.extract_groups(r"(\d{1,2})\s?[/.\- ]\s?(\d{1,2})\s?[/.\- ]\s?(\d{4}|\d{2})").struct.unnest()
    first, second, third = (parts[name].cast(pl.Int32) for name in parts.columns)
    day_first = int(((first > 12) & (first <= 31) & (second <= 12)).sum())
    month_first = int(((second > 12) & (second <= 31) & (first <= 12)).sum())
    if int((first > 31).sum()) * DOMINANCE > len(texts) and not (third > 31).any():
        return "YMD", "year first", ""
    if day_first > DOMINANCE * month_first:
        return "DMY", f"day first, told by {day_first:,} days after the 12th", ""
    if month_first > DOMINANCE * day_first:
        return "MDY", f"month first, told by {month_first:,} days after the 12th", ""
    if not day_first and bool(texts.str.contains(r"^\D*\d{1,2}\.\s?\d{1,2}\.").all()):
        return "DMY", "day first, as dates with dots are written", ""
    # Days equal to their month are clear in either order.
    unclear = texts.filter((first != second) & (first <= 12) & (second <= 12))
    return "?MY", "", unclear[0] if len(unclear) else texts[0]


def _numeric_date(text: str, order: str) -> int | None:
    """Parse a date of three numbers in a known order of day, month and year."""
    match = NUMERIC.match(text)
    if not match:
        return None
    numbers = int(match[1]), int(match[3]), int(match[4])
    if order == "?MY":
        if numbers[0] <= 12 and numbers[1] <= 12 and numbers[0] != numbers[1]:
            return None
        order = "DMY" if numbers[0] > 12 else "MDY"
    at = {part: numbers[order.index(part)] for part in "DMY"}
    return _seconds(_century(at["Y"], match[4]), at["M"], at["D"], match.groupdict())


def _by_hand(time: pl.Series, seconds: pl.Series, left: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Parse the remaining distinct texts one by one; returns the seconds, and which texts wait for the column."""
    unique = time.filter(left).unique().to_list()
    waits = [bool(NUMERIC.match(text)) for text in unique]
    found = [None if wait else _written(text) for text, wait in zip(unique, waits, strict=True)]
    table = pl.DataFrame(
        {"text": unique, "found": found, "waits": waits},
        schema={"text": pl.String, "found": pl.Int64, "waits": pl.Boolean},
    )
    joined = time.alias("text").to_frame().join(table, on="text", how="left", maintain_order="left")
    return _coalesce(seconds, joined["found"]), (joined["waits"].fill_null(value=False) & left)


def _written(text: str) -> int | None:
    """Parse a date that names its month, or whose parts stand in an order that only one reading has."""
    text = unicodedata.normalize("NFKC", text).strip().rstrip(".")
    if len(text) > LONGEST:
        return None
    if match := HAN.search(text):
        clock = ANY_CLOCK.search(text, match.end()) or HAN_CLOCK.search(text, match.end())
        return _seconds(
            _century(int(match[1]), match[1]), int(match[2]), int(match[3] or 1), clock.groupdict() if clock else {}
        )
    if match := YEAR_FIRST.match(text):
        return _seconds(int(match[1]), int(match[2]), int(match[3] or 1), match.groupdict())
    if match := MONTH_YEAR.match(text):
        return _seconds(int(match[2]), int(match[1]), 1, {})
    if match := COMPACT.match(text):
        parts: dict[str, str | None] = {"hour": match[4], "minute": match[5], "second": match[6]}
        return _seconds(int(match[1]), int(match[2]), int(match[3]), parts)
    return _named_month(text)


def _named_month(text: str) -> int | None:
    """Parse a date with the name of a month, and possibly words before it, a weekday, a clock and a zone."""
    clock = ANY_CLOCK.search(text)
    rest = text[: clock.start()] + " " + text[clock.end() :] if clock else text
    zone = ZONE.search(rest) if clock else None
    shift = timedelta(0)
    if zone:
        rest = rest[: zone.start()] + " " + rest[zone.end() :]
        if zone["sign"]:
            shift = timedelta(hours=int(zone["hours"]), minutes=int(zone["minutes"]))
            shift = -shift if zone["sign"] == "-" else shift
    words = WORD_OR_NUMBER.findall(_plain(rest))
    for word in words if clock else ():
        if word.upper() in ZONES:
            shift = timedelta(hours=ZONES[word.upper()])
    numbers = [place for place, word in enumerate(words) if word.isdigit()]
    if not 1 <= len(numbers) <= 2:
        return None
    months = [place for place, word in enumerate(words) if word in MONTHS and _is_near(place, numbers)]
    if not months:
        return None
    month = MONTHS[words[months[-1]]]
    years = [place for place in numbers if len(words[place]) == 4] or (numbers[-1:] if len(numbers) == 2 else [])
    if not years or len(words[years[0]]) not in (2, 4):
        return None
    days = [int(words[place]) for place in numbers if place != years[0]]
    year = _century(int(words[years[0]]), words[years[0]])
    return _seconds(year, month, days[0] if days else 1, clock.groupdict() if clock else {}, shift)


def _is_near(place: int, numbers: list[int]) -> bool:
    """Return whether a word stands next to a number, or one word apart (`3rd of May`, `15 de mayo`, `1st May`)."""
    return any(abs(place - number) <= 3 for number in numbers)


def _plain(text: str) -> str:
    """Return a text without case and accents."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def _century(year: int, written: str) -> int:
    """Complete a year of two digits."""
    if len(written) > 2:
        return year
    return year + (1900 if year >= FIRST_OF_CENTURY else 2000)


def _seconds(
    year: int, month: int, day: int, clock: dict[str, str | None], shift: timedelta = timedelta(0)
) -> int | None:
    """Return seconds since 1970; None if there is no such day or hour."""
    hour, minute, second = (int(clock.get(part) or 0) for part in ("hour", "minute", "second"))
    half = (clock.get("half") or "").lower()[:1]
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    try:
        when = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=timezone(shift))
    except ValueError:
        return None
    return calendar.timegm(when.utctimetuple())


def _by_pattern(time: pl.Series, form: str) -> pl.Series:
    """Parse times by a strptime pattern, with or without clock and zone."""
    try:
        if "%z" in form or "%Z" in form:
            return _epoch(time.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC"))
        if any(sign in form for sign in ("%H", "%I", "%T", "%R", "%r", "%X", "%c", "%s")):
            return _epoch(time.str.to_datetime(form, strict=False, time_unit="us"))
        return _epoch(time.str.to_date(form, strict=False))
    except pl.exceptions.PolarsError:
        raise DataError(f"--time-format {form} is not a pattern for times, such as %d/%m/%Y %H:%M") from None


def _epochs(number: pl.Series) -> pl.Series:
    """Convert epochs of any unit to whole seconds."""
    unit = pl.lit(1.0)
    for beyond, per_second in reversed(EPOCH_UNITS):
        unit = pl.when(number.abs() > beyond).then(per_second).otherwise(unit)
    return pl.select((pl.lit(number) / unit).floor().cast(pl.Int64, strict=False).alias("timestamp")).to_series()


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
    plain = plain.str.replace(r"(:\d\d(?:[.,]\d+)?)\s*([+-]\d\d)$", "${1}${2}:00")  # as PostgreSQL writes it
    for form in ("%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%d %H:%M%z"):
        yield plain.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")
    yield plain.str.to_datetime("%Y-%m-%d %H:%M", strict=False, time_unit="us")
    for form in ZONED_FORMATS:
        yield time.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")


def _epoch(time: pl.Series) -> pl.Series:
    """Convert dates or times to seconds since 1970."""
    return time.cast(pl.Datetime("us", getattr(time.dtype, "time_zone", None))).dt.epoch("s").cast(pl.Int64)


def _within(seconds: pl.Series) -> pl.Series:
    """Drop the times before EARLIEST and after LATEST."""
    return seconds.set((~seconds.is_between(EARLIEST, LATEST)).fill_null(value=False), None)


def _coalesce(*columns: pl.Series) -> pl.Series:
    """Return the first value that is not null in each row."""
    return pl.select(pl.coalesce(*columns).alias("timestamp")).to_series()
