"""Layouts: which column of a source is the user, the item, the rating; known by name, or guessed from the names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gavamoe.data.scale import RatingScale
from gavamoe.errors import DataError

REVIEW_COLUMNS = ("user", "item", "rating", "text", "feature", "timestamp", "split")
NEEDED = ("user", "item", "rating")
STARS = RatingScale.between(1, 5)


@dataclass(frozen=True)
class Layout:
    """Where the columns of a review are in a source.

    Args:
        name: the format.
        columns: source column of each review column that the format has.
        scale: the rating scale that the format defines; None to infer it.
        guessed: which of the columns were guessed from their names.
    """

    name: str
    columns: Mapping[str, str]
    scale: RatingScale | None = None
    guessed: tuple[str, ...] = field(default=())


LAYOUTS = (
    Layout(
        "amazon",  # 2014 and 2018
        {
            "user": "reviewerID",
            "item": "asin",
            "rating": "overall",
            "text": "reviewText",
            "timestamp": "unixReviewTime",
        },
        STARS,
    ),
    Layout(
        "amazon",  # 2023: the parent groups the variants of a product, and is what the metadata describes
        {"user": "user_id", "item": "parent_asin", "rating": "rating", "text": "text", "timestamp": "timestamp"},
        STARS,
    ),
    Layout(
        "yelp",
        {"user": "user_id", "item": "business_id", "rating": "stars", "text": "text", "timestamp": "date"},
        STARS,
    ),
    Layout(
        "tripadvisor",  # HotelRec
        {"user": "author", "item": "hotel_url", "rating": "rating", "text": "text", "timestamp": "date"},
        STARS,
    ),
    Layout(
        "tripadvisor",  # the crawl with offering ids and nested authors and ratings
        {
            "user": "author.id",
            "item": "offering_id",
            "rating": "ratings.overall",
            "text": "text",
            "timestamp": "date",
        },
        STARS,
    ),
)
# Names that tables use, the likeliest first; compared without case and punctuation.
SYNONYMS = {
    "user": "user userid uid username userkey reviewerid reviewer customerid customer authorid author memberid critic",
    "item": "item itemid iid parentasin asin productid product businessid movieid movie bookid book hotelid hotel",
    "rating": "rating stars overall score starrating ratingscore reviewscore overallrating",
    "text": "text review reviewtext reviewbody reviewcontent content comment comments body explanation sentence",
    "feature": "feature aspect",
    "timestamp": "timestamp unixreviewtime unixtime time date datetime reviewdate reviewtime createdat",
    "split": "split",
}
FORMATS = ("amazon", "yelp", "tripadvisor", "pepler", "xrec", "table")


def find_layout(found: Iterable[str], named: Mapping[str, str], wanted: str = "auto", place: str = "") -> Layout:
    """Choose the layout of a file from the columns found in it.

    Args:
        found: the columns of the file.
        named: source columns that the user named, by review column; they win over every layout.
        wanted: a format, or auto.
        place: the file, for messages.

    Raises:
        DataError: no layout fits; says which column is missing, which are there, and how to name one.
    """
    found = list(found)
    for column, source in named.items():
        if source not in found:
            raise DataError(f"{place} has no column {source} (named as {column}); found {', '.join(found)}")
    if not named and wanted != "table":
        for layout in LAYOUTS:
            fits = wanted in ("auto", layout.name) and all(layout.columns[column] in found for column in NEEDED)
            if fits:
                return layout
        if wanted != "auto":
            raise DataError(f"{place} is not in the {wanted} format: {_expected(wanted)}; found {', '.join(found)}")
    return _guess(found, named, place)


def _guess(found: list[str], named: Mapping[str, str], place: str) -> Layout:
    columns = dict(named)
    plain = {_plain(name): name for name in reversed(found)}
    for column, names in SYNONYMS.items():
        guess = next((plain[name] for name in names.split() if name in plain), None)
        if column not in columns and guess is not None and guess not in columns.values():
            columns[column] = guess
    missing = [column for column in NEEDED if column not in columns]
    if missing:
        raise DataError(
            f"{place} has no column that could be the {missing[0]}; found {', '.join(found)}; name it with "
            f"--{missing[0]}-col, or all columns with --columns when the file has no header"
        )
    guessed = tuple(column for column, source in columns.items() if column not in named and source != column)
    return Layout("table", columns, guessed=guessed)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _expected(name: str) -> str:
    each = ["+".join(layout.columns[column] for column in NEEDED) for layout in LAYOUTS if layout.name == name]
    return f"expected the columns {' or '.join(each)}" if each else f"it is not a {name} file"
