"""The rating scale: maps source ratings to levels 1..R and levels back to ratings, and infers the scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn, overload

import numpy as np
import polars as pl

from gavamoe.errors import DataError

# A wider scale is inferred only if the ratings beyond the narrower one are frequent and varied. A single 7 among star
# ratings is an error to report, not evidence that 1..5 is the lower half of 0..10.
HIGHEST_RATINGS = (5, 10, 100)
SHARE_BEYOND = 0.10
VALUES_BEYOND = 3
# Zero often means "not rated" in star ratings, so it is a level only if it is frequent.
ZERO_SHARE, ZERO_ROWS = 0.01, 20
MAX_LEVELS = 11


class RatingOutOfRangeError(DataError):
    """A rating that is outside the scale.

    Attributes:
        row: its row in the column, from 0.
        rows: the rows of all ratings with the same error, int64 [n].
    """

    def __init__(self, ratings: pl.Series, wrong: pl.Series, why: str) -> None:
        self.rows = wrong.arg_true().to_numpy().astype(np.int64)
        self.row = int(self.rows[0])
        self._ratings = ratings
        self._why = why
        super().__init__(f"row {self.row + 1}: {self.problem(self.row)}")

    def problem(self, row: int) -> str:
        """Describe the error of one row, without the row number."""
        rating = self._ratings[row]
        shown = "missing" if rating is None or np.isnan(rating) else f"{rating:g}"
        return f"rating {shown} is out of range ({self._why})"


@dataclass(frozen=True)
class RatingScale:
    """R rating levels and the source rating of each.

    Args:
        levels: R, the number of levels.
        values: the source rating of each level 1..R, strictly increasing, length R.
    """

    levels: int
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        increasing = all(low < high for low, high in zip(self.values, self.values[1:], strict=False))
        if self.levels < 1 or len(self.values) != self.levels or not increasing:
            raise DataError(f"a rating scale needs one increasing value per level, found {self.levels}: {self.values}")

    @classmethod
    def between(cls, low: float, high: float, step: float = 1.0) -> RatingScale:
        """Return the scale low, low + step, ..., high.

        Raises:
            DataError: the bounds or the step make no scale.
        """
        if not (step > 0 and low < high and np.isfinite([low, high, step]).all()):
            raise DataError(f"a rating scale needs low < high and a positive step, found {low}:{high}:{step}")
        count = round((high - low) / step) + 1
        if count > 127 or abs(low + (count - 1) * step - high) > 1e-6:
            raise DataError(f"rating scale {low:g}:{high:g}:{step:g}: the step does not divide the range")
        return cls(count, tuple(float(value) for value in np.linspace(low, high, count)))

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest rating."""
        return self.values[0], self.values[-1]

    @classmethod
    def parse(cls, text: str) -> RatingScale:
        """Parse a scale written as LOW:HIGH or LOW:HIGH:STEP, for example 1:5 or 0.5:5:0.5.

        Raises:
            DataError: the text is not such a scale.
        """
        try:
            numbers = [float(part) for part in text.split(":")]
            return cls.between(*numbers)
        except (ValueError, TypeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"rating scale '{text}': expected LOW:HIGH or LOW:HIGH:STEP, for example 1:5") from None

    @classmethod
    def infer(cls, ratings: pl.Series, high: float | None = None) -> RatingScale:
        """Infer the scale of a column of source ratings.

        The highest rating of the scale is the smallest of 5, 10 and 100 that covers the ratings. The lowest is 1, or
        the lowest rating found if that is below 1. Whole and half steps become one level each; a scale of more than 11
        steps is divided into 10 equal ones, or into the steps that the ratings have. Ratings that are all 0 or 1, or -1
        or 1, have two levels.

        Args:
            ratings: source ratings, numeric, [n].
            high: the end of the scale, where the ratings name it ("8/10").

        Raises:
            RatingOutOfRangeError: a few ratings lie outside the scale of the others; names the first one and its row.
        """
        if ratings.is_empty():
            raise DataError("there are no ratings to find a scale from")
        if high == 1 or (ratings.is_in([0.0, 1.0]).all() and ratings.n_unique() == 2):
            return cls(2, (0.0, 1.0))
        if ratings.is_in([-1.0, 1.0]).all() and ratings.n_unique() == 2:
            return cls(2, (-1.0, 1.0))
        high = _highest(ratings) if high is None else high
        even = _even_steps(ratings, high)
        if even is not None:
            return even
        low = _lowest(ratings, high)
        halves = bool((ratings * 2 == (ratings * 2).round()).all())
        whole = bool((ratings == ratings.round()).all())
        step = 0.5 if halves and not whole else 1.0
        if (high - low) / step + 1 > MAX_LEVELS:
            low, step = (0.0, high / 10) if high > 2 * (MAX_LEVELS - 1) - 1 else (float(round(low)), 1.0)
        elif step == 1.0:
            low = max(round(low), 0)
        if abs((high - low) / step - round((high - low) / step)) > 1e-6:
            low, step = 0.0, high / 10
        return cls.between(low, high, step)

    def to_level(self, rating: pl.Series) -> pl.Series:
        """Map source ratings to the nearest level.

        Args:
            rating: source ratings, numeric, [n].

        Returns:
            Levels 1..R as Int8, [n].

        Raises:
            RatingOutOfRangeError: a rating is missing or outside the scale; names the first one and its row (from 1).
        """
        given = rating.cast(pl.Float64).to_numpy()
        tolerance = 1e-6
        fits = (given >= self.values[0] - tolerance) & (given <= self.values[-1] + tolerance)
        if not fits.all():
            raise RatingOutOfRangeError(rating, pl.Series(~fits), f"expected {self}")
        midpoints = (np.asarray(self.values[1:]) + np.asarray(self.values[:-1])) / 2
        return pl.Series(rating.name, np.searchsorted(midpoints, given, side="right") + 1, dtype=pl.Int8)

    @overload
    def to_rating(self, level: float) -> float: ...

    @overload
    def to_rating(self, level: np.ndarray) -> np.ndarray: ...

    def to_rating(self, level: float | np.ndarray) -> float | np.ndarray:
        """Map levels back to the source scale by linear interpolation.

        Args:
            level: a number or an array of any shape; expected levels may be fractional.

        Returns:
            Ratings, a number or an array of the same shape; levels outside 1..R give the nearest end of the scale.
        """
        rating = np.interp(np.asarray(level, dtype=np.float64), np.arange(1, self.levels + 1), self.values)
        return float(rating) if np.ndim(level) == 0 else rating

    def in_words(self) -> tuple[str, ...]:
        """Return each level in words, lowest first: "4 of 5 stars", "7 of 10 points", "positive" of two levels."""
        if self.levels == 2:
            return "negative", "positive"
        high = self.values[-1]
        unit = "stars" if high == HIGHEST_RATINGS[0] else "points"
        return tuple(f"{value:g} of {high:g} {unit}" for value in self.values)

    def to_json(self) -> dict[str, Any]:
        """Return the scale as a JSON value: {"levels": R, "values": [source rating of each level]}."""
        return {"levels": self.levels, "values": list(self.values)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RatingScale:
        """Rebuild the scale from the value that `to_json` returned.

        Raises:
            DataError: the value is not a scale.
        """
        try:
            return cls(int(value["levels"]), tuple(float(rating) for rating in value["values"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a rating scale: {value!r}: {error}") from error

    def __str__(self) -> str:
        if self.levels == 1:
            return f"{self.values[0]:g}"
        steps = np.diff(self.values)
        even = f" in steps of {steps[0]:g}" if np.allclose(steps, steps[0]) and steps[0] != 1 else ""
        return f"{self.values[0]:g}..{self.values[-1]:g}{even}"


def usual_end(ratings: pl.Series) -> int:
    """Return the smallest of HIGHEST_RATINGS that covers the ratings but for a few outliers; else the largest."""
    for end in HIGHEST_RATINGS:
        beyond = ratings.filter(ratings > end)
        share = len(beyond) / len(ratings)
        if share < 0.5 and (share < SHARE_BEYOND or beyond.n_unique() < VALUES_BEYOND):
            return end
    return HIGHEST_RATINGS[-1]


def _highest(ratings: pl.Series) -> int:
    """Return the usual end of the ratings; outliers beyond it are out of range."""
    end = usual_end(ratings)
    beyond = ratings > end
    if beyond.mean() < 0.5:  # type: ignore[operator]
        if beyond.any():
            _raise_out_of_range(ratings, beyond, f"the others end at {end}", f"0:{HIGHEST_RATINGS[1]}")
        return end
    _raise_out_of_range(ratings, beyond, "ratings are expected to end at 5, 10 or 100", "0:1000:100")


def _even_steps(ratings: pl.Series, high: float) -> RatingScale | None:
    """Return the scale of ratings that use a few even steps, or the upper half, of a wide range; None for others."""
    if high < 2 * (MAX_LEVELS - 1) or (ratings < 0).any() or (ratings > high).any():
        return None
    found = ratings.unique().sort().cast(pl.Float64).to_numpy()
    if high > HIGHEST_RATINGS[1] and len(found) > 2 and (found == np.round(found)).all() and high == round(high):
        step = float(np.gcd.reduce(np.append(found, high).astype(np.int64)))
        low = 0.0 if found[0] == 0 else step
        if step > 1 and (high - low) / step + 1 <= MAX_LEVELS and 2 * len(found) >= (high - low) / step + 1:
            return RatingScale.between(low, high, step)
    if found[0] >= high / 2 and len(found) > 2:
        low = float(np.floor(found[0] / (high / 10)) * (high / 10))
        if low < high:
            return RatingScale.between(low, high, (high - low) / 10)
    return None


def _lowest(ratings: pl.Series, high: float) -> float:
    """Return the lowest rating of the scale that ends at `high`."""
    if (ratings < 0).any():
        only = ratings.filter(ratings < 0).unique()
        hint = f" (a site's mark for not rated? --unrated {only[0]:g} drops these reviews)" if len(only) == 1 else ""
        why = f"ratings are expected to start at 0 or 1{hint}"
        _raise_out_of_range(ratings, ratings < 0, why, f"-{high:g}:{high:g}")
    low = float(ratings.min())  # type: ignore[arg-type]
    if low >= 1 or high == 100:
        return 1.0 if high != 100 else 0.0
    zeros = int((ratings == 0).sum())
    if high == HIGHEST_RATINGS[0] and zeros and (zeros < ZERO_ROWS or zeros / len(ratings) < ZERO_SHARE):
        why = "the others start above 0; zero often stands for not rated, and --unrated 0 drops these reviews"
        _raise_out_of_range(ratings, ratings == 0, why, f"0:{high:g}")
    return low if low * 2 == round(low * 2) else 0.0


def _raise_out_of_range(ratings: pl.Series, wrong: pl.Series, why: str, scale: str) -> NoReturn:
    raise RatingOutOfRangeError(ratings, wrong, f"{why}; set another scale, for example --scale {scale}")
