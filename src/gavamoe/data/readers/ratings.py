"""Ratings that are written, not numbered: `4.0 out of 5 stars`, 8/10, 80%, ★★★★☆, decimal commas, true and false.

A written rating names its own scale. `parse_ratings` reads each value, with the end of its scale; `settle_ratings`
brings the whole column to one scale.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from gavamoe.data.scale import usual_end
from gavamoe.errors import DataError

NUMBER = r"(\d{1,3}(?:\.\d+|,\d{1,2})?)"  # 1,234 is no rating: it may be a thousand
OUT_OF = re.compile(
    rf"^\D{{0,24}}?{NUMBER}\s*(?:stars?\s+)?(?:/|／|out\s+of|of|von|sur|su|de|sobre|em|van|av|из|中的)\s*{NUMBER}(?:\s*\D{{0,24}})$",
    re.I,
)
OUT_OF_REVERSED = re.compile(rf"^{NUMBER}\s*(?:つ星のうち|点満点中|颗星，最多|分满分)\s*{NUMBER}\D{{0,8}}$")
PERCENT = re.compile(rf"^{NUMBER}\s*[%％]$")
PLAIN = re.compile(rf"^{NUMBER}$")
UNITS = (
    "stars? sterne? sternen étoiles? estrellas? stelle stella estrelas? bubbles? points? punkte pts rated rating score "
    "note rate 星 颗星 顆星 分 点 點 つ星 ★ ⭐ ☆"
)
WITH_UNIT = re.compile(
    rf"^(?:(?:{'|'.join(UNITS.split())})\s*:?\s*)?{NUMBER}\s*(?:-?\s*(?:{'|'.join(UNITS.split())})\s*)?$", re.I
)
# Class names of web pages: Douban's allstar40, TripAdvisor's ui_bubble_rating bubble_40.
TENTHS = re.compile(r"^(?:.*\s)?(?:allstar|bubble_?|star_)(\d)(\d)(?:\s.*)?$", re.I)
FULL, EMPTY, HALF = "★⭐🌟", "☆✩", "½⯪"
WORDS = {"one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0}
YES_NO = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
# The end of the scale of a yes or no.
BOOLEAN = 0.0


@dataclass(frozen=True)
class RatingMap:
    """What words are worth, as `--ratings "A=5,B+=4.5"` states it; words are compared without case."""

    worth: Mapping[str, float]

    @classmethod
    def parse(cls, text: str) -> RatingMap:
        """Parse WORD=NUMBER pairs separated by commas.

        Raises:
            DataError: a part is no such pair, or a word occurs twice.
        """
        worth: dict[str, float] = {}
        for part in text.split(","):
            word, mark, number = part.rpartition("=")
            try:
                value = float(number)
            except ValueError:
                mark = ""
            if not mark or not math.isfinite(value) or not word.strip():
                raise DataError(f'--ratings "{text}": expected WORD=NUMBER pairs, for example "A=5,B+=4.5"')
            if word.strip().casefold() in worth:
                raise DataError(f"--ratings: '{word.strip()}' occurs twice")
            worth[word.strip().casefold()] = value
        return cls(worth)


def parse_ratings(given: pl.Series, worth: Mapping[str, float]) -> pl.DataFrame:
    """Parse ratings of any form.

    Args:
        given: stripped strings, [n].
        worth: the value of words, casefolded; they take precedence.

    Returns:
        rating, Float32 (null if not understood), and out_of, Float32: the end of the scale that the rating names, 0 for
        a yes or no, null for a bare number.
    """
    rating = given.cast(pl.Float32, strict=False)
    out_of = pl.Series("out_of", [None], dtype=pl.Float32).new_from_index(0, len(given))
    written = given.is_not_null() & (pl.Series([True]) if worth else (rating.is_null() | ~rating.is_finite()))
    if not written.any():
        return pl.DataFrame([rating.alias("rating"), out_of])
    found = {text: _parse(text, worth) for text in given.filter(written).unique().to_list()}
    values = {text: value for text, value in found.items() if value is not None}
    table = pl.DataFrame(
        {
            "given": list(values),
            "value": [value for value, _ in values.values()],
            "end": [end for _, end in values.values()],
        },
        schema={"given": pl.String, "value": pl.Float32, "end": pl.Float32},
    )
    joined = given.alias("given").to_frame().join(table, on="given", how="left", maintain_order="left")
    return joined.select(pl.coalesce("value", rating).alias("rating"), pl.col("end").alias("out_of"))


def _parse(text: str, worth: Mapping[str, float]) -> tuple[float, float | None] | None:
    """Return value and end of the scale of a written rating, None if it is not understood."""
    word = " ".join(text.casefold().split())
    if word in worth:
        return worth[word], None
    if word in YES_NO:
        return YES_NO[word], BOOLEAN
    if match := OUT_OF_REVERSED.match(text):
        return _number(match[2]), _number(match[1])
    if match := OUT_OF.match(text):
        value, end = _number(match[1]), _number(match[2])
        return (value, end) if 0 <= value <= end and end > 1 else None
    if match := PERCENT.match(text):
        return _number(match[1]), 100.0
    if match := TENTHS.match(text):
        return float(match[1]) + float(match[2]) / 10, 5.0
    if match := PLAIN.match(text) or WITH_UNIT.match(text):
        return _number(match[1]), None
    first, _, rest = word.partition(" ")
    if first in WORDS and rest in ("", "star", "stars"):
        return WORDS[first], None
    return _stars(text)


def _stars(text: str) -> tuple[float, float | None] | None:
    """Count drawn stars: filled ones, and all of them where empty ones are drawn too."""
    signs = [sign for sign in text if not sign.isspace() and sign != "\ufe0f"]
    if not signs or any(sign not in FULL + EMPTY + HALF for sign in signs):
        return None
    full = sum(sign in FULL for sign in signs)
    half = sum(sign in HALF for sign in signs)
    empty = sum(sign in EMPTY for sign in signs)
    return full + half / 2, float(full + half + empty) if empty else None


def _number(text: str) -> float:
    return float(text.replace(",", "."))


@dataclass(frozen=True)
class SettledRatings:
    """The ratings of a whole column on one scale.

    Args:
        rating: Float32, [n].
        wrong: which ratings do not belong to the others (a yes among numbers), bool [n].
        high: the end of the scale that the ratings name; None for bare numbers, 1 for yes and no.
        note: how the ratings were understood; empty for bare numbers.
    """

    rating: pl.Series
    wrong: pl.Series
    high: float | None = None
    note: str = ""


def settle_ratings(rating: pl.Series, out_of: pl.Series) -> SettledRatings:
    """Bring ratings that name their own scales to one scale.

    It is that of the bare numbers if at least half of the ratings are bare, else the one that is named most often.

    Args:
        rating: values on the scale that each row names, Float32 [n].
        out_of: the end of that scale, 0 for a yes or no, null for a bare number; Float32 [n].
    """
    boolean = (out_of == BOOLEAN).fill_null(value=False)
    if boolean.all() and len(boolean):
        return SettledRatings(rating, ~boolean, 1.0, "true and false, as 1 and 0")
    named = out_of.is_not_null() & ~boolean
    if not named.any():
        return SettledRatings(rating, boolean)
    counts = out_of.filter(named).value_counts(sort=True)
    ends = [float(end) for end in counts[counts.columns[0]].to_list()]
    bare = rating.filter(~named & ~boolean & rating.is_finite())
    if len(bare) >= named.sum():
        high, how = _end_of_bare(bare, ends), f"{len(bare):,} of {len(rating):,} are bare numbers"
    else:
        high, how = ends[0], f"{int(named.sum()):,} of {len(rating):,} are written"
    scaled = pl.DataFrame({"r": rating, "o": out_of, "n": named}).select(
        pl.when("n").then(pl.col("r") * high / pl.col("o")).otherwise("r").cast(pl.Float32).alias(rating.name)
    )
    note = f"out of {high:g}, as {how}"
    others = [f"{end:g}" for end in ends if end != high]
    if others:
        note += f"; those out of {', '.join(others)} were rescaled"
    return SettledRatings(scaled.to_series(), boolean, high, note)


def _end_of_bare(bare: pl.Series, ends: Sequence[float]) -> float:
    """Return the end of the scale of bare numbers: 1 for 0 and 1, else a usual one, or one that ratings name."""
    if bare.is_in([0.0, 1.0]).all() and bare.n_unique() == 2:
        return 1.0
    usual = usual_end(bare)
    between = [end for end in ends if usual > end >= bare.max()]  # type: ignore[operator]
    return float(min(between, default=usual))
