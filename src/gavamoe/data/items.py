"""Item metadata: titles, categories and descriptions, from whatever file describes the items."""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.data.readers.bad_lines import BadLines
from gavamoe.data.readers.layouts import DESCRIBED_BY, SYNONYMS, Layout, describes_items, pick_column
from gavamoe.data.readers.open import open_rows
from gavamoe.data.readers.rows import Rows
from gavamoe.errors import DataError
from gavamoe.features.cleaning import clean_texts

ITEM_SCHEMA = {
    "item": pl.String(),
    "title": pl.String(),
    "categories": pl.List(pl.String()),
    "description": pl.String(),
}


def find_sidecar_metadata(reviews: Path) -> Path | None:
    """Find the metadata that public sets put beside their reviews, such as meta_Books.json.gz or business.json.

    Nobody named this file, so one that cannot be read or does not describe items is no mistake: it is passed over.
    """
    stem = reviews.name.partition(".")[0]
    category = stem.removeprefix("reviews_").removesuffix("_5")
    stems = {f"meta_{category}", "items", "item", "business"}
    if "review" in stem:
        stems.add(stem.replace("review", "business"))
    beside = sorted(file for file in reviews.parent.iterdir() if file.is_file() and file != reviews)
    return next((file for file in beside if file.name.partition(".")[0] in stems and _describes(file)), None)


def _describes(path: Path) -> bool:
    try:
        return describes_items(open_rows(path, BadLines()).columns)
    except DataError:
        return False


def check_items(sources: Iterable[Path], reviews: Layout) -> None:
    """Raise DataError where a metadata file cannot be read or has no column of items: best before the long work."""
    for path in sources:
        _columns(open_rows(path, BadLines()), reviews)


def read_sidecar_metadata(
    sources: Iterable[Path], names: pl.Series, reviews: Layout
) -> tuple[pl.DataFrame, list[Path]]:
    """Read metadata that nobody named; a line that cannot be used, or a whole file, is no mistake and is passed over.

    Returns:
        As `read_items` does; and the files that could be read.
    """
    known, read = [pl.DataFrame(schema=ITEM_SCHEMA)], []
    for path in sources:
        try:
            known.append(read_items([path], names, reviews, BadLines(sys.maxsize)))
        except DataError:
            continue
        read.append(path)
    return pl.concat(known).unique("item", keep="first", maintain_order=True), read


def read_items(sources: Iterable[Path], names: pl.Series, reviews: Layout, bad: BadLines) -> pl.DataFrame:
    """Read what is known of the named items.

    Args:
        sources: metadata files.
        names: the items wanted.
        reviews: layout of the reviews; its item column is looked for first.
        bad: where unusable lines are reported.

    Returns:
        item, title, categories, description; at most one row per item, the first that describes it.

    Raises:
        DataError: a file cannot be read or has no column of items.
    """
    known = [pl.DataFrame(schema=ITEM_SCHEMA)]
    for path in sources:
        rows = open_rows(path, bad)
        columns = _columns(rows, reviews)
        for batch in rows.batches(list(dict.fromkeys(columns.values()))):  # the title may be what items are joined by
            found = batch.select(pl.col(source).alias(column) for column, source in columns.items())
            found = found.filter(pl.col("item").str.strip_chars().is_in(names.implode()))
            known.append(_typed(found.unique("item", keep="first", maintain_order=True)))
    return pl.concat(known).unique("item", keep="first", maintain_order=True)


def _columns(rows: Rows, reviews: Layout) -> dict[str, str]:
    own = reviews.columns["item"]
    item = own if own in rows.columns else pick_column(rows.columns, SYNONYMS["item"])
    if item is None:
        raise DataError(f"{rows.path} has no column {own} to join items by; found {', '.join(rows.columns)}")
    columns = {"item": item}
    for column, names in DESCRIBED_BY.items():
        source = pick_column(rows.columns, names)
        if source is not None:
            columns[column] = source
    return columns


def _typed(found: pl.DataFrame) -> pl.DataFrame:
    absent = [pl.lit(None, pl.String).alias(name) for name in ITEM_SCHEMA if name not in found.columns]
    found = found.with_columns(absent)
    descriptions = pl.Series([_joined(value) for value in found["description"]], dtype=pl.String)
    return pl.DataFrame(
        {
            "item": found["item"].str.strip_chars(),
            "title": clean_texts(found["title"]).replace("", None),
            "categories": pl.Series([_listed(value) for value in found["categories"]], dtype=pl.List(pl.String)),
            "description": clean_texts(descriptions).replace("", None),
        }
    )


def _listed(value: str | None) -> list[str] | None:
    """Read categories written as a JSON list (of strings or of paths), or divided by commas or bars."""
    if not value:
        return None
    parsed = _parsed(value)
    if isinstance(parsed, list):
        flat = [name for part in parsed for name in (part if isinstance(part, list) else [part])]
    else:
        flat = value.split("|") if "|" in value else value.split(",")
    return list(dict.fromkeys(plain for name in flat if (plain := html.unescape(str(name)).strip()))) or None


def _joined(value: str | None) -> str | None:
    parsed = _parsed(value or "")
    return " ".join(str(part) for part in parsed) if isinstance(parsed, list) else value


def _parsed(value: str) -> Any:
    try:
        return json.loads(value) if value.startswith("[") else None
    except ValueError:
        return None
