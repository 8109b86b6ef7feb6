"""Clean raw texts: remove markup, entities and repeated white space, and repair broken encodings.

Only the texts that may need it are cleaned: cheap searches over all texts find them first.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator

import numpy as np
import polars as pl

from gavamoe.words import count_unspaced

# Only known tags are removed: "a < b and c > d" is no markup. Amazon links videos and products in double brackets.
TAGS = "a|b|br|i|p|em|strong|span|div|ul|ol|li|u|h[1-6]|img|font|video|input"
MARKUP = rf"(?i)</?(?:{TAGS})\b[^<>]*>|\[\[(?:VIDEOID|ASIN):[^\]]*\]\]"
SPACES = r"[\s\p{Cc}\u{200b}\u{feff}]+"
# A text needs cleaning only if it contains one of these. SUSPECT applies to texts with non-ASCII letters, SUSPECT_ASCII
# to all texts. Several searches for one or two characters are many times faster than one expression for all of them.
SUSPECT = r"[ÃâÂ\u{80}-\u{a0}\u{1680}\u{2000}-\u{200b}\u{2028}-\u{205f}\u{3000}\u{feff}]"
SUSPECT_ASCII = (r"[&<\x7f]", r"[\n\r\t]", r"\[\[", "  ")

# Windows-1252 leaves five bytes undefined; decoders pass them through as control characters.
WINDOWS_1252 = {ord(bytes([byte]).decode("cp1252", errors="ignore") or chr(byte)): byte for byte in range(256)}

# An entity ends with a semicolon: without one, "food&notes" and "?id=1&region=us" are no entities.
ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*);")

# Number of texts whose bytes are processed together: few enough to stay within a processor's cache.
BLOCK = 8_192


def clean_texts(texts: pl.Series) -> pl.Series:
    """Return the texts without markup, entities, mojibake and repeated white space, with composed letters (NFC).

    Args:
        texts: [n] strings; null becomes the empty string.

    Returns:
        [n] strings whose words are separated by single spaces.
    """
    return compose(_without_markup(texts.fill_null("")))


def compose(texts: pl.Series) -> pl.Series:
    """Compose letters and combining marks (NFC): "é" of two code points becomes one; null stays null, [n]."""
    rows = (texts.str.len_bytes() != texts.str.len_chars()).fill_null(value=False).arg_true()
    return texts if rows.is_empty() else texts.scatter(rows, texts.gather(rows).str.normalize("NFC"))


def _without_markup(texts: pl.Series) -> pl.Series:
    rows = _suspect_rows(texts)
    if rows.is_empty():
        return texts
    suspects = pl.Series([_repair(text) for text in texts.gather(rows)], dtype=pl.String)
    plain = suspects.str.replace_all(MARKUP, " ").str.replace_all(SPACES, " ").str.strip_chars(" ")
    return plain.alias(texts.name) if len(rows) == len(texts) else texts.scatter(rows, plain)


def count_words(texts: pl.Series) -> pl.Series:
    """Count the words of cleaned texts, which are separated by single spaces; [n] strings to UInt32 [n].

    In scripts without blanks each character is a word, and punctuation marks are none (`gavamoe.words`).
    """
    counts = [
        np.diff(np.searchsorted(np.flatnonzero(data == ord(" ")), ends), prepend=0)
        for _, data, ends in _byte_blocks(texts)
    ]
    spaces = pl.Series("words", np.concatenate([np.zeros(0, dtype=np.int64), *counts]), dtype=pl.UInt32)
    counts_by_spaces = spaces + (texts != "").cast(pl.UInt32)
    rows, unspaced = count_unspaced(texts)
    return counts_by_spaces.scatter(rows, unspaced) if len(rows) else counts_by_spaces


def _suspect_rows(texts: pl.Series) -> pl.Series:
    """Return the row numbers of the texts that may need cleaning."""
    text = pl.col("text").str
    checks = [text.starts_with(" "), text.ends_with(" "), *(text.contains(expression) for expression in SUSPECT_ASCII)]
    checked = texts.to_frame("text").select(
        suspect=pl.any_horizontal(checks), non_ascii=text.len_bytes() != text.len_chars()
    )
    suspect, non_ascii = checked["suspect"], checked["non_ascii"].arg_true()
    if not non_ascii.is_empty():
        suspect[non_ascii] |= texts.gather(non_ascii).str.contains(SUSPECT)
    for first, data, ends in _byte_blocks(texts):
        control = np.flatnonzero(data < ord(" "))
        if len(control) > len(ends):  # more control characters than the line break after each text
            rows = np.searchsorted(ends, np.setdiff1d(control, ends - 1, assume_unique=True), side="right")
            suspect[np.unique(first + rows)] = True
    return suspect.arg_true()


def _byte_blocks(texts: pl.Series) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield blocks of texts: the first row number, the bytes with a line break after each text, and the text ends."""
    for first in range(0, len(texts), BLOCK):
        block = texts[first : first + BLOCK]
        data = np.frombuffer((block.str.join("\n").item() + "\n").encode(), dtype=np.uint8)
        yield first, data, np.cumsum(block.str.len_bytes().to_numpy().astype(np.int64) + 1)


def _repair(text: str) -> str:
    """Decode entities, and UTF-8 that was read as Windows-1252."""
    if "&" in text:
        text = ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    if "Ã" in text or "â" in text or "Â" in text:
        try:
            return codecs.charmap_encode(text, "strict", WINDOWS_1252)[0].decode("utf-8")
        except UnicodeError:
            return text
    return text
