"""Layouts: which columns of a source are user, item, rating and so on, from a known format or guessed by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gavamoe.data.scale import RatingScale
from gavamoe.errors import DataError

REQUIRED = ("user", "item", "rating")
# Column names of gavamoe itself, which a file of any format may have in addition.
OPTIONAL_COLUMNS = ("feature", "opinion", "sentiment", "split")
STARS = RatingScale.between(1, 5)


@dataclass(frozen=True)
class Layout:
    """The source column of each review column.

    Args:
        name: the format.
        columns: source column of each review column that the format has.
        scale: the rating scale that the format defines; None to infer it.
        distinctive: further columns that distinguish the format from others.
        guessed: which review columns were guessed from the names of the source columns.
        other_text: another column that could be the text, if the user named none. It is an error if all texts are
            empty and there is such a column.
    """

    name: str
    columns: Mapping[str, str]
    scale: RatingScale | None = None
    distinctive: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    other_text: str | None = None

    def matches(self, found: list[str]) -> bool:
        """Return whether a file with these columns is in this format.

        The text and the optional columns may be missing. A file whose text has another name does not match, since its
        texts would be lost.
        """
        named = all(name in found for name in (*(self.columns[column] for column in REQUIRED), *self.distinctive))
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
        "amazon",  # 2023: parent_asin groups the variants of a product; the metadata describes parents
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
        "tripadvisor",  # one file per hotel; each review carries the shared HotelInfo
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
        distinctive=("sentence", "opinion", "sentiment"),
    ),
    Layout(
        "xrec",
        {"user": "uid", "item": "iid", "rating": "rating", "text": "explanation", "split": "split"},
        RatingScale(1, (1.0,)),
        distinctive=("explanation",),
    ),
)
# Column names that tables use, the most likely first; compared without case and punctuation.
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
HOTEL_NAME = "HotelInfo.Name"  # item metadata within the reviews, in a TripAdvisor file of one hotel
METADATA_SYNONYMS = {
    "title": "hotelinfoname title name itemname producttitle productname",
    "categories": "categories category genres genre",
    "description": "description synopsis summary overview plot about",
}
FORMATS = ("amazon", "yelp", "tripadvisor", "pepler", "xrec", "table")


def find_layout(found: Iterable[str], named: Mapping[str, str], wanted: str = "auto", place: str = "") -> Layout:
    """Choose the layout of a file from its columns.

    Args:
        found: the columns of the file.
        named: source columns that the user named, by review column; they take precedence over every layout.
        wanted: a format, or auto.
        place: the file, for messages.

    Raises:
        DataError: no layout matches; says which column is missing, which were found, and how to name one.
    """
    found = list(found)
    for column, source in named.items():
        if source not in found:
            raise DataError(f"{place} has no column {source} (named as {column}); found {', '.join(found)}")
    layout = _match(found, wanted, place) if not named and wanted != "table" else None
    layout = layout or _guess(found, named, place)
    return layout if "text" in named else replace(layout, other_text=_other_text(found, layout))


def is_item_metadata(columns: Sequence[str]) -> bool:
    """Return whether a file with these columns is item metadata: an item, a title or the like, and no user.

    A file with a rating and a text contains reviews, whatever its user column is called. A rating without a text may be
    the item's mean rating.
    """
    described = any(pick_column(columns, names) for names in METADATA_SYNONYMS.values())
    has = {column: pick_column(columns, SYNONYMS[column]) is not None for column in ("item", "user", "rating", "text")}
    return described and has["item"] and not has["user"] and not (has["rating"] and has["text"])


def pick_column(columns: Sequence[str], names: str) -> str | None:
    """Return the column that matches the first possible name of a space-separated list, None if there is none.

    Case and punctuation are ignored.
    """
    by_name = {_normalize_name(name): name for name in reversed(columns)}
    return next((by_name[name] for name in names.split() if name in by_name), None)


def _match(found: list[str], wanted: str, place: str) -> Layout | None:
    """Return the first known layout that matches, None if there is none."""
    for layout in LAYOUTS:
        if wanted in ("auto", layout.name) and layout.matches(found):
            optional: dict[str, str] = {name: name for name in OPTIONAL_COLUMNS if name in found}
            return replace(layout, columns={**optional, **layout.columns})
    if wanted != "auto":
        raise DataError(f"{place} is not in the {wanted} format: {_expected(wanted)}; found {', '.join(found)}")
    return None


def _other_text(found: list[str], layout: Layout) -> str | None:
    """Return another column that could be the text."""
    return pick_column([name for name in found if name not in layout.columns.values()], SYNONYMS["text"])


def _guess(found: list[str], named: Mapping[str, str], place: str) -> Layout:
    """Guess the layout of a table from its column names."""
    columns = dict(named)
    for column, names in SYNONYMS.items():
        guess = pick_column(found, names)
        if column not in columns and guess is not None and guess not in columns.values():
            columns[column] = guess
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        raise DataError(
            f"{place} has no column that could be the {missing[0]}; found {', '.join(found)}; name it with "
            f"--{missing[0]}-col, or all columns with --columns when the file has no header"
        )
    guessed = tuple(column for column, source in columns.items() if column not in named and source != column)
    return Layout("table", columns, guessed=guessed)


def _normalize_name(name: str) -> str:
    """Return a column name without case and punctuation, for comparison."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _expected(name: str) -> str:
    """Describe the columns that a format requires."""
    layouts = [layout for layout in LAYOUTS if layout.name == name]
    each = ["+".join(layout.columns[column] for column in (*REQUIRED, "text")) for layout in layouts]
    return f"expected the columns {' or '.join(each)}" if each else f"it is not a {name} file"
