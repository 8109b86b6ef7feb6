"""Layouts: which column of a source is the user, the item, the rating; known by name, or guessed from the names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gavamoe.data.scale import RatingScale
from gavamoe.errors import DataError

NEEDED = ("user", "item", "rating")
# What we call them ourselves; a file in any format may have them beside its own.
OWN_COLUMNS = ("feature", "opinion", "sentiment", "split")
STARS = RatingScale.between(1, 5)


@dataclass(frozen=True)
class Layout:
    """Where the columns of a review are in a source.

    Args:
        name: the format.
        columns: source column of each review column that the format has.
        scale: the rating scale that the format defines; None to infer it.
        marks: further columns that tell the format from others.
        guessed: which of the columns were guessed from their names.
        unread: a column that could be the text too, where nobody named one; an error when all texts are empty.
    """

    name: str
    columns: Mapping[str, str]
    scale: RatingScale | None = None
    marks: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    unread: str | None = None

    def fits(self, found: list[str]) -> bool:
        """Whether a file with these columns is in this format; text and the optional columns may be absent.

        A file with its text under another name is not: in this format it would have none.
        """
        named = all(name in found for name in (*(self.columns[column] for column in NEEDED), *self.marks))
        return named and (self.columns["text"] in found or pick_column(found, SYNONYMS["text"]) is None)


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
    Layout(
        "tripadvisor",  # a file for each hotel; its reviews come with the hotel they share
        {
            "user": "Author",
            "item": "HotelInfo.HotelID",
            "rating": "Ratings.Overall",
            "text": "Content",
            "timestamp": "Date",
        },
        STARS,
    ),
    Layout(
        "pepler",
        {
            "user": "user",
            "item": "item",
            "rating": "rating",
            "text": "sentence",
            "feature": "feature",
            "opinion": "opinion",
            "sentiment": "sentiment",
            "split": "split",
        },
        STARS,
        marks=("sentence", "opinion", "sentiment"),
    ),
    Layout(
        "xrec",
        {"user": "uid", "item": "iid", "rating": "rating", "text": "explanation", "split": "split"},
        RatingScale(1, (1.0,)),
        marks=("explanation",),
    ),
)
# Names that tables use, the likeliest first; compared without case and punctuation.
SYNONYMS = {
    "user": "user userid uid username userkey reviewerid reviewer customerid customer authorid author memberid critic",
    "item": "item itemid iid parentasin asin productid product businessid movieid movie bookid book hotelid hotel",
    "rating": "rating stars overall score starrating ratingscore reviewscore overallrating",
    "text": "text reviewtext reviewbody reviewcontent content comment comments review body explanation sentence",
    "feature": "feature aspect",
    "opinion": "opinion",
    "sentiment": "sentiment",
    "timestamp": "timestamp unixreviewtime unixtime time date datetime reviewdate reviewtime createdat",
    "split": "split",
}
HOTEL_NAME = "HotelInfo.Name"  # among the reviews themselves, in TripAdvisor's file for each hotel
DESCRIBED_BY = {
    "title": "hotelinfoname title name itemname producttitle productname",
    "categories": "categories category genres genre",
    "description": "description synopsis summary overview plot about",
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
    layout = _known(found, wanted, place) if not named and wanted != "table" else None
    layout = layout or _guess(found, named, place)
    return layout if "text" in named else replace(layout, unread=_other_text(found, layout))


def describes_items(columns: Sequence[str]) -> bool:
    """Whether a file with these columns describes items: it has an item, something that describes it, and no user.

    A rating beside a text is a review, whatever its user is called; a rating alone may be the item's mean.
    """
    described = any(pick_column(columns, names) for names in DESCRIBED_BY.values())
    has = {column: pick_column(columns, SYNONYMS[column]) is not None for column in ("item", "user", "rating", "text")}
    return described and has["item"] and not has["user"] and not (has["rating"] and has["text"])


def pick_column(columns: Sequence[str], names: str) -> str | None:
    """Return the first of the names that is a column, compared without case and punctuation."""
    plain = {plain_name(name): name for name in reversed(columns)}
    return next((plain[name] for name in names.split() if name in plain), None)


def _known(found: list[str], wanted: str, place: str) -> Layout | None:
    for layout in LAYOUTS:
        if wanted in ("auto", layout.name) and layout.fits(found):
            own: dict[str, str] = {name: name for name in OWN_COLUMNS if name in found}
            return replace(layout, columns={**own, **layout.columns})
    if wanted != "auto":
        raise DataError(f"{place} is not in the {wanted} format: {_expected(wanted)}; found {', '.join(found)}")
    return None


def _other_text(found: list[str], layout: Layout) -> str | None:
    return pick_column([name for name in found if name not in layout.columns.values()], SYNONYMS["text"])


def _guess(found: list[str], named: Mapping[str, str], place: str) -> Layout:
    columns = dict(named)
    for column, names in SYNONYMS.items():
        guess = pick_column(found, names)
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


def plain_name(name: str) -> str:
    """Return a column name without case and punctuation, for comparing."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _expected(name: str) -> str:
    layouts = [layout for layout in LAYOUTS if layout.name == name]
    each = ["+".join(layout.columns[column] for column in (*NEEDED, "text")) for layout in layouts]
    return f"expected the columns {' or '.join(each)}" if each else f"it is not a {name} file"
