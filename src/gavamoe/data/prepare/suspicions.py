"""Name what looks like a convention for "missing", or has a share of the reviews that nobody has by chance."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from gavamoe.data.prepare.ingest import FILE, Ingested
from gavamoe.data.scale import HIGHEST_RATINGS, RatingScale

# A single user, item, text or day is suspicious from this share on, if it also has so many times the reviews of the
# median one; of small files nothing is said.
SHARES = {"user": 0.10, "item": 0.5, "day": 0.20, "text": 0.05}
TIMES_THE_MEDIAN = 10
MIN_REVIEWS, MIN_COUNT = 100, 20
RATING_SHARE = 0.97
WIDEST_STARS = 10
TEXTS_PER_PART, MAX_TEXTS = 20_000, 200_000
UNUSUAL_TIME = -631_152_000  # 1950: newspapers printed reviews, but few are in data sets
EARLY_TIME = 3650 * 86400  # ten years from 1970: no public reviews are so old
REMEDIES = {
    "user": "if it names nobody, --anonymous {name} says so",
    "item": "check --item-col",
    "day": "check --timestamp-col: it may be the day of an export",
    "text": "it may stand for no text",
}


def find_suspicions(ingested: Ingested, keys: pl.DataFrame, scale: RatingScale, given: bool) -> list[str]:
    """Return a line for each suspicion about the reviews that were read.

    Args:
        ingested: the reviews of all sources, for a sample of their texts.
        keys: user, item, rating, timestamp and file of every review.
        scale: the rating scale.
        given: whether the user gave the scale.
    """
    n = keys.height
    lines = [*_zeros(keys["rating"], scale), *_empty_levels(keys["rating"], scale)]
    if not given:
        lines += _scales(ingested, keys)
    times = keys["timestamp"].drop_nulls()
    if len(times) and (times < EARLY_TIME).all() and n >= MIN_REVIEWS:
        lines.append("every time lies in the 1970s: if the times are not seconds, --time-format says what they are")
    old = int((times < UNUSUAL_TIME).sum())
    if old:
        first = _day(int(times.min()))  # type: ignore[arg-type]
        lines.append(f"{old:,} times lie before 1950, the first on {first}: check --timestamp-col and --time-format")
    if n < MIN_REVIEWS:
        return lines
    for what in ("user", "item"):
        lines += _decimals(what, keys[what])
    days = (keys["timestamp"] // 86400).drop_nulls()
    for what, values in (("user", keys["user"]), ("item", keys["item"]), ("text", _sample_texts(ingested))):
        lines += _dominant(what, values)
    for line in _dominant("day", pl.Series(days).cast(pl.Int32).cast(pl.Date).cast(pl.String)):
        lines.append(line)
    rating, count = _most_frequent(keys["rating"])
    if scale.levels > 2 and count >= RATING_SHARE * n:
        lines.append(f"{count / n:.0%} of the reviews have the rating {rating:g}: check --rating-col")
    return lines


def _day(seconds: int) -> str:
    """Return the day of a time."""
    return (datetime(1970, 1, 1) + timedelta(seconds=seconds)).date().isoformat()


def _zeros(rating: pl.Series, scale: RatingScale) -> list[str]:
    """Suspect ratings of 0 among stars."""
    zeros = int((rating == 0).sum())
    if not zeros or scale.levels <= 2 or scale.bounds[0] < 0 or scale.bounds[1] > WIDEST_STARS:
        return []
    return [
        f"{zeros:,} ratings ({zeros / len(rating):.1%}) are 0, which many sites write for not rated: --unrated 0 drops "
        "these reviews"
    ]


def _scales(ingested: Ingested, keys: pl.DataFrame) -> list[str]:
    """Suspect files whose ratings end at different usual numbers: a 5 of 5 and a 5 of 10 would be equal."""
    files = (
        keys.group_by(FILE).agg(pl.len(), high=pl.col("rating").max()).filter(pl.col("len") >= MIN_REVIEWS).sort(FILE)
    )
    ends: dict[int, str] = {}
    for number, _, high in files.iter_rows():
        end = next((end for end in HIGHEST_RATINGS if high <= end), None)
        if end is not None:
            ends.setdefault(end, ingested.sources[number].reader.path.name)
    if len(ends) < 2:
        return []
    found = ", ".join(f"{end} in {name}" for end, name in sorted(ends.items()))
    return [f"ratings seem to end at {found}, and are taken as one scale: if they are not, rescale a file first"]


def _empty_levels(rating: pl.Series, scale: RatingScale) -> list[str]:
    """Name the levels that no rating has."""
    found = set(scale.to_level(rating).unique().to_list())
    empty = [f"{value:g}" for level, value in enumerate(scale.values, start=1) if level not in found]
    if not empty or len(rating) < MIN_REVIEWS:
        return []
    return [f"no rating is {', '.join(empty)}: --scale LOW:HIGH:STEP sets other levels"]


def _decimals(what: str, names: pl.Series) -> list[str]:
    """Suspect names that are whole numbers written as decimals, as pandas writes a column with missing numbers."""
    decimals = names.filter(names.str.contains(r"^\d+\.0$"))
    if decimals.is_empty() or not names.str.contains(r"^(\d+(\.0)?|<.*>)$").all():
        return []
    name = decimals[0]
    return [
        f"{what}s such as {name} are whole numbers written as decimals, and {name} is not {name.removesuffix('.0')}: "
        "write them without decimals, here and wherever they are named"
    ]


def _dominant(what: str, values: pl.Series) -> list[str]:
    """Suspect the most frequent value if its share is implausible."""
    if len(values) < MIN_REVIEWS or values.n_unique() < 3:
        return []
    counts = values.value_counts()["count"]
    name, count = _most_frequent(values)
    if count < max(MIN_COUNT, SHARES[what] * len(values)) or count < TIMES_THE_MEDIAN * float(counts.median() or 0):  # type: ignore[arg-type]
        return []
    shown = f'"{str(name)[:40]}"'
    remedy = REMEDIES[what].format(name=shown)
    return [f"the {what} {shown} has {count / len(values):.0%} of the reviews: {remedy}"]


def _most_frequent(values: pl.Series) -> tuple[object, int]:
    """Return the most frequent value and its number; of several the least one."""
    counts = values.rename("value").value_counts(name="n").sort(["n", "value"], descending=[True, False])
    return counts.row(0)


def _sample_texts(ingested: Ingested) -> pl.Series:
    """Return the first texts of each part."""
    found: list[pl.Series] = []
    for path in ingested.paths():
        found.append(pl.scan_parquet(path, glob=False).select("text").head(TEXTS_PER_PART).collect()["text"])
        if sum(map(len, found)) >= MAX_TEXTS:
            break
    texts = pl.concat(found)
    return texts.filter(texts != "")
