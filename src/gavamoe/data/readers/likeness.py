"""Recognise, by their content, columns that could be the text of reviews although no name says so."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence

import polars as pl

from gavamoe.data.readers.headers import METADATA_SYNONYMS, normalize
from gavamoe.data.readers.placeholders import blank_missing
from gavamoe.data.readers.rows import BadLines, RowReader
from gavamoe.data.readers.times import parse_times

SAMPLED_ROWS = 500
# A text has several words, or, in scripts without blanks, several characters; names and titles have few.
WORDS, LETTERS = 3.0, 8.0
DISTINCT = 0.05
NOT_A_TEXT = r"^(?:https?://|www\.|[\[{]|[\d\s.,:/+%$€£-]*$)|^\S+@\S+$"
RELATIVE_TIME = r"(?i)\b(?:ago|yesterday|today|last (?:week|month|year)|vor \S+ \S+|il y a .*|hace .*)\b"
# Titles and categories may be as long as a text, but they describe the item.
DESCRIBE_ITEMS = {normalize(name) for column in ("title", "categories") for name in METADATA_SYNONYMS[column].split()}
SPACELESS = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"


def find_text_like(reader: RowReader, names: Sequence[str], item: str | None) -> list[str]:
    """Return the columns whose values read like the text of reviews.

    Args:
        reader: the open file.
        names: the columns to look at.
        item: the column of the item; what is the same in all reviews of an item describes it.
    """
    names = [name for name in names if normalize(name) not in DESCRIBE_ITEMS]
    if not names:
        return []
    wanted = list(dict.fromkeys([*names, *([item] if item else [])]))
    permissive = _rereader(reader)
    batch = next(permissive.batches(wanted), None)
    if batch is None or batch.is_empty():
        return []
    sample = batch.head(SAMPLED_ROWS)
    return [name for name in names if _is_text(sample[name], sample[item] if item else None)]


def _rereader(reader: RowReader) -> RowReader:
    """Return the reader; lines that it cannot use are passed over here, and reported when the reviews are read."""
    again = copy.copy(reader)
    if hasattr(again, "bad"):
        again.bad = BadLines(sys.maxsize)
    return again


def _is_text(values: pl.Series, items: pl.Series | None) -> bool:
    """Return whether the values of a column read like texts of reviews."""
    given = blank_missing(values.str.strip_chars()).replace("", None)
    kept = given.is_not_null()
    given = given.filter(kept)
    if len(given) < max(1, 0.02 * len(values)) or bool(given.str.contains(NOT_A_TEXT).mean() > 0.5):  # type: ignore[operator]
        return False
    words = float(given.str.split(" ").list.len().mean() or 0)  # type: ignore[arg-type]
    letters = float(given.str.count_matches(SPACELESS).mean() or 0)  # type: ignore[arg-type]
    if words < WORDS and letters < LETTERS:
        return False
    seconds, waiting = parse_times(given)
    if float((seconds.is_not_null() | waiting.is_not_null() | given.str.contains(RELATIVE_TIME)).mean() or 0) > 0.5:  # type: ignore[arg-type]
        return False
    if given.n_unique() < max(2, DISTINCT * len(given)) and len(given) > 1:
        return False
    if items is None:
        return True
    pairs = pl.DataFrame({"item": items.filter(kept), "value": given})
    several = pairs.filter(pl.col("item").is_duplicated())
    if several.is_empty():
        return True
    return several.n_unique() > several["item"].n_unique()
