"""Layouts: which columns of a source are user, item, rating and so on, from a known format or guessed by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gavamoe.data.readers.headers import (
    METADATA_SYNONYMS,
    SYNONYMS,
    is_review_record,
    normalize,
    pick,
    pick_known,
)
from gavamoe.data.readers.reading import shorten_list
from gavamoe.data.scale import RatingScale
from gavamoe.errors import DataError

REQUIRED = ("user", "item", "rating")
SHOWN_COLUMNS = 40  # of a file, in a message; a file may have thousands
# Column names of gavamoe itself, which a file of any format may have in addition.
OPTIONAL_COLUMNS = ("feature", "opinion", "sentiment", "split")
STARS = RatingScale.between(1, 5)
# Instead of a column: every review is by a reviewer of its own; the item is the file's name; there are no texts.
NONE = "none"


@dataclass(frozen=True)
class Layout:
    """The source column of each review column.

    Args:
        name: the format.
        columns: source column of each review column that the format has. Without a user, every review is by a reviewer
            of its own; without an item, the item is the file's name.
        scale: the rating scale that the format defines; None to infer it.
        distinctive: further columns that distinguish the format from others.
        guessed: which review columns were guessed from the names of the source columns.
        other_text: another column that could be the text, if the user named none. It is an error if all texts are
            empty and there is such a column.
        text_wanted: whether no column is the text although the user did not say that there is none.
    """

    name: str
    columns: Mapping[str, str]
    scale: RatingScale | None = None
    distinctive: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    other_text: str | None = None
    text_wanted: bool = False

    def matches(self, found: list[str]) -> bool:
        """Return whether a file with these columns is in this format.

        The text and the optional columns may be missing. A file whose text has another name does not match, since its
        texts would be lost.
        """
        named = all(name in found for name in (*(self.columns[column] for column in REQUIRED), *self.distinctive))
        return named and (self.columns["text"] in found or pick(found, SYNONYMS["text"]) is None)


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
HOTEL_NAME = "HotelInfo.Name"  # item metadata within the reviews, in a TripAdvisor file of one hotel
FORMATS = ("amazon", "yelp", "tripadvisor", "pepler", "xrec", "table")


def find_layout(
    found: Iterable[str],
    named: Mapping[str, str],
    wanted: str = "auto",
    place: str = "",
    item_from_file: bool = False,
    prepares: bool = True,
) -> Layout:
    """Choose the layout of a file from its columns.

    Args:
        found: the columns of the file.
        named: source columns that the user named, by review column; they take precedence over every layout. NONE says
            that there is no such column, unless a column has that name.
        wanted: a format, or auto.
        place: the file, for messages.
        item_from_file: whether the item is the file's name.
        prepares: whether messages may advise the options of `prepare`.

    Raises:
        DataError: no layout matches; says which column is missing, which were found, and how to name one.
    """
    found = list(found)
    absent = {column for column, source in named.items() if source == NONE and NONE not in found}
    if not absent <= {"user", "text", "timestamp", "feature", "split"}:
        raise DataError(f"{place}: reviews need an item and a rating; none is possible for user and text only")
    named = {column: source for column, source in named.items() if column not in absent}
    for column, source in named.items():
        if source not in found:
            raise DataError(
                f"{place} has no column {source} (named as {column}); found {shorten_list(found, SHOWN_COLUMNS)}"
            )
    absent |= {"item"} if item_from_file else set()
    layout = _match(found, wanted, place) if not named and not absent and wanted != "table" else None
    layout = layout or _guess(found, named, absent, place, prepares)
    if "text" in named or "text" in absent:
        return layout
    return replace(layout, other_text=_other_text(found, layout), text_wanted=layout.columns.get("text") not in found)


def is_item_metadata(columns: Sequence[str]) -> bool:
    """Return whether a file with these columns is item metadata: an item, a title or the like, and no user.

    A file with a rating and a text contains reviews, whatever its user column is called. A rating without a text may be
    the item's mean rating.
    """
    described = any(pick_column(columns, names) for names in METADATA_SYNONYMS.values())
    has = {column: pick(columns, SYNONYMS[column]) is not None for column in ("item", "user", "rating", "text")}
    return described and has["item"] and not has["user"] and not (has["rating"] and has["text"])


def pick_column(columns: Sequence[str], names: str) -> str | None:
    """Return the column that matches the first possible name of a space-separated list, None if there is none.

    Case and punctuation are ignored.
    """
    return pick(columns, [normalize(name) for name in names.split()])


def _match(found: list[str], wanted: str, place: str) -> Layout | None:
    """Return the first known layout that matches, None if there is none."""
    for layout in LAYOUTS:
        if wanted in ("auto", layout.name) and layout.matches(found):
            optional: dict[str, str] = {name: name for name in OPTIONAL_COLUMNS if name in found}
            return replace(layout, columns={**optional, **layout.columns})
    if wanted != "auto":
        raise DataError(
            f"{place} is not in the {wanted} format: {_expected(wanted)}; found {shorten_list(found, SHOWN_COLUMNS)}"
        )
    return None


def _other_text(found: list[str], layout: Layout) -> str | None:
    """Return another column that could be the text."""
    return pick([name for name in found if name not in layout.columns.values()], SYNONYMS["text"])


def _guess(found: list[str], named: Mapping[str, str], absent: set[str], place: str, prepares: bool) -> Layout:
    """Guess the layout of a table from its column names."""
    known = pick_known(found)
    columns = dict(named)
    columns |= {c: s for c, s in known.items() if c not in columns and c not in absent and s not in columns.values()}
    for column, names in SYNONYMS.items():
        if column in columns or column in absent:
            continue
        free = [name for name in found if name not in columns.values()]
        guess = pick(free, names, any_prefix=True)
        if guess is not None:
            columns[column] = guess
    if "item" not in columns and "item" not in absent and is_review_record(found):
        # The fields of the review carry a prefix: the others, such as `name`, are those of the item.
        guess = pick([name for name in found if name not in columns.values()], ("id", "name", "title"))
        columns |= {"item": guess} if guess else {}
    if "text" not in columns and "text" not in absent and "opinion" in columns and "feature" not in columns:
        columns["text"] = columns.pop("opinion")  # an opinion without its feature is the whole text
    missing = [column for column in REQUIRED if column not in columns and column not in absent]
    if missing:
        raise DataError(_describe_missing(missing[0], found, place, prepares))
    guessed = tuple(column for column, source in columns.items() if column not in named and source != column)
    return Layout("table", columns, guessed=guessed)


def _describe_missing(column: str, found: list[str], place: str, prepares: bool) -> str:
    """Describe a column that no name fits, and what to do."""
    message = f"{place} has no column that could be the {column}; found {shorten_list(found, SHOWN_COLUMNS)}; "
    if not prepares:
        return message + f"name the columns as `prepare` was told, or rename that column to {column}"
    further = {
        "user": " (--user-col none where no column is: then every review is by a reviewer of its own)",
        "item": " (--item-from-file where every file holds the reviews of one item)",
    }
    return message + (
        f"name it with --{column}-col{further.get(column, '')}, or all columns with --columns when the file has no "
        "header"
    )


def _expected(name: str) -> str:
    """Describe the columns that a format requires."""
    layouts = [layout for layout in LAYOUTS if layout.name == name]
    each = ["+".join(layout.columns[column] for column in (*REQUIRED, "text")) for layout in layouts]
    return f"expected the columns {' or '.join(each)}" if each else f"it is not a {name} file"
