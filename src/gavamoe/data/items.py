"""Item metadata: read titles, categories and descriptions from files of any known format.

Metadata files are named by the user, or found beside the reviews (sidecar metadata, as public sets ship it).
"""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.data.readers.headers import METADATA_SYNONYMS, SYNONYMS, pick
from gavamoe.data.readers.layouts import Layout, is_item_metadata, pick_column
from gavamoe.data.readers.open import open_rows
from gavamoe.data.readers.placeholders import plain_name
from gavamoe.data.readers.python_values import parse_literal
from gavamoe.data.readers.rows import BadLines, RowReader
from gavamoe.errors import DataError
from gavamoe.features.cleaning import clean_texts

ITEM_SCHEMA = {
    "item": pl.String(),
    "title": pl.String(),
    "categories": pl.List(pl.String()),
    "description": pl.String(),
}


def find_sidecar_metadata(reviews: Path) -> Path | None:
    """Find the metadata file that public sets ship beside their reviews, such as meta_Books.json.gz or business.json.

    Sidecar metadata is best-effort: a file that cannot be read, or that is no item metadata, is ignored.

    Args:
        reviews: the file of reviews.

    Returns:
        The metadata file in the same directory, None if there is none.
    """
    if not reviews.parent.is_dir():  # inside an archive, whose other members are read as sources
        return None
    stem = reviews.name.partition(".")[0]
    category = stem.removeprefix("reviews_").removesuffix("_5")
    stems = {f"meta_{category}", "items", "item", "business"}
    if "review" in stem:
        stems.add(stem.replace("review", "business"))
    siblings = sorted(file for file in reviews.parent.iterdir() if file.is_file() and file != reviews)
    return next((file for file in siblings if file.name.partition(".")[0] in stems and _is_metadata_file(file)), None)


def _is_metadata_file(path: Path) -> bool:
    """Return whether a file can be read and its columns are those of item metadata."""
    try:
        return is_item_metadata(open_rows(path, BadLines()).columns)
    except DataError:
        return False


def parse_item_columns(text: str) -> dict[str, str]:
    """Parse `item=sku,title=label`: the source columns of item files that the user names.

    Raises:
        DataError: a part is no pair, or names no column of items.
    """
    named: dict[str, str] = {}
    for part in text.split(","):
        column, mark, source = (piece.strip() for piece in part.partition("="))
        if not mark or not source or column not in ITEM_SCHEMA:
            raise DataError(f"--item-columns {part.strip()}: expected NAME=COLUMN with {', '.join(ITEM_SCHEMA)}")
        named[column] = source
    return named


def check_metadata(sources: Iterable[Path], reviews: Layout, named: Mapping[str, str] | None = None) -> None:
    """Check metadata files before the reviews are read.

    Raises:
        DataError: a file cannot be read or has no item column.
    """
    for path in sources:
        _columns(open_rows(path, BadLines()), reviews, named or {})


def read_sidecar_metadata(
    sources: Iterable[Path], names: pl.Series, reviews: Layout
) -> tuple[pl.DataFrame, list[Path]]:
    """Read sidecar metadata; it is best-effort: unusable lines, or whole files, are ignored.

    Args:
        sources: metadata files found beside the reviews.
        names: the items to look up.
        reviews: layout of the reviews.

    Returns:
        The metadata, as returned by `read_items`, and the files that could be read.
    """
    known, read = [pl.DataFrame(schema=ITEM_SCHEMA)], []
    for path in sources:
        try:
            known.append(read_items([path], names, reviews, BadLines(sys.maxsize)))
        except DataError:
            continue
        read.append(path)
    return pl.concat(known).unique("item", keep="first", maintain_order=True), read


def read_items(
    sources: Iterable[Path],
    names: pl.Series,
    reviews: Layout,
    bad: BadLines,
    named: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Read the metadata of items.

    Args:
        sources: metadata files.
        names: the items to look up.
        reviews: layout of the reviews; its item column is tried first as the item column of the metadata.
        bad: collects the unusable lines.
        named: source columns that the user named, by column of ITEM_SCHEMA.

    Returns:
        item, title, categories, description; one row per item found, the first one in the files.

    Raises:
        DataError: a file cannot be read or has no item column.
    """
    known = [pl.DataFrame(schema=ITEM_SCHEMA)]
    for path in sources:
        reader = open_rows(path, bad)
        columns = _columns(reader, reviews, named or {})
        for batch in reader.batches(list(dict.fromkeys(columns.values()))):  # the title may also be the item column
            found = pl.DataFrame({column: batch[source] for column, source in columns.items()})
            found = found.with_columns(plain_name(found["item"]))
            found = found.filter(pl.col("item").is_in(names.implode()))
            known.append(_typed(found.unique("item", keep="first", maintain_order=True)))
    return pl.concat(known).unique("item", keep="first", maintain_order=True)


def _columns(reader: RowReader, reviews: Layout, named: Mapping[str, str]) -> dict[str, str]:
    """Return the source column of item, title, categories and description."""
    for column, source in named.items():
        if source not in reader.columns:
            raise DataError(
                f"{reader.path} has no column {source} (named as {column} by --item-columns); "
                f"found {', '.join(reader.columns)}"
            )
    review_column = reviews.columns.get("item", "item")
    guessed = review_column if review_column in reader.columns else pick(reader.columns, SYNONYMS["item"])
    item = named.get("item", guessed)
    if item is None:
        raise DataError(
            f"{reader.path} has no column {review_column} to join items by; found {', '.join(reader.columns)}; "
            "name it with --item-columns item=COLUMN"
        )
    columns = {"item": item, **{column: source for column, source in named.items() if column != "item"}}
    for column, names in METADATA_SYNONYMS.items():
        guess = pick_column(reader.columns, names)
        if guess is not None and column not in columns:
            columns[column] = guess
    return columns


def _typed(found: pl.DataFrame) -> pl.DataFrame:
    """Convert strings to the types of ITEM_SCHEMA."""
    absent = [pl.lit(None, pl.String).alias(name) for name in ITEM_SCHEMA if name not in found.columns]
    found = found.with_columns(absent)
    descriptions = pl.Series([_parse_description(value) for value in found["description"]], dtype=pl.String)
    return pl.DataFrame(
        {
            "item": plain_name(found["item"]),
            "title": clean_texts(found["title"]).replace("", None),
            "categories": pl.Series(
                [_parse_categories(value) for value in found["categories"]], dtype=pl.List(pl.String)
            ),
            "description": clean_texts(descriptions).replace("", None),
        }
    )


def _parse_categories(value: str | None) -> list[str] | None:
    """Parse categories: a list (of names, of paths, or of objects with a name), or names between commas or bars."""
    if not value:
        return None
    parsed = _parse_list(value)
    if isinstance(parsed, list):
        flat = [name for part in parsed for name in (part if isinstance(part, list) else [part])]
        flat = [name.get("name", name) if isinstance(name, dict) else name for name in flat]
    else:
        flat = value.split("|") if "|" in value else value.split(",")
    return list(dict.fromkeys(plain for name in flat if (plain := html.unescape(str(name)).strip()))) or None


def _parse_description(value: str | None) -> str | None:
    """Join the parts of a list; any other text is returned unchanged."""
    parsed = _parse_list(value or "")
    return " ".join(str(part) for part in parsed) if isinstance(parsed, list) else value


def _parse_list(value: str) -> Any:
    """Parse a list of JSON, or of Python as pandas writes it; None if the text is neither. Its parts are arbitrary."""
    if not value.startswith("["):
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return parse_literal(value)
