"""Texts as people write them, made plain: no markup, no entities, no broken encoding, single spaces."""

from __future__ import annotations

import codecs
import html
from collections.abc import Iterator

import numpy as np
import polars as pl

# Known tags only: "a < b and c > d" is no markup. Amazon links videos and products in double brackets.
TAGS = "a|b|br|i|p|em|strong|span|div|ul|ol|li|u|h[1-6]|img|font|video|input"
MARKUP = rf"(?i)</?(?:{TAGS})\b[^<>]*>|\[\[(?:VIDEOID|ASIN):[^\]]*\]\]"
SPACES = r"[\s\p{Cc}\u{200b}\u{feff}]+"
# What any of the above needs to be there, in texts of other than ASCII letters and in all; what follows the first
# expression is searched for a character or two at a time, which is many times faster than by one expression for all.
SUSPECT = r"[ÃâÂ\u{80}-\u{a0}\u{1680}\u{2000}-\u{200b}\u{2028}-\u{205f}\u{3000}\u{feff}]"
SUSPECT_ASCII = (r"[&<\x7f]", r"[\n\r\t]", r"\[\[", "  ")

# Windows-1252 leaves five bytes undefined; what reads it passes them through as control characters.
WINDOWS_1252 = {ord(bytes([byte]).decode("cp1252", errors="ignore") or chr(byte)): byte for byte in range(256)}

# Texts whose bytes are looked at together: few enough to stay within a processor's cache.
BLOCK = 8_192


def clean_texts(texts: pl.Series) -> pl.Series:
    """Return the texts without markup, entities, mojibake and repeated white space; null becomes empty; [n] to [n]."""
    texts = texts.fill_null("")
    rows = _suspect(texts)
    if rows.is_empty():
        return texts
    suspects = pl.Series([_repair(text) for text in texts.gather(rows)], dtype=pl.String)
    plain = suspects.str.replace_all(MARKUP, " ").str.replace_all(SPACES, " ").str.strip_chars(" ")
    return plain.alias(texts.name) if len(rows) == len(texts) else texts.scatter(rows, plain)


def count_words(texts: pl.Series) -> pl.Series:
    """Count the words of cleaned texts, which single spaces divide; [n] to UInt32 [n]."""
    counts = [
        np.diff(np.searchsorted(np.flatnonzero(data == ord(" ")), ends), prepend=0) for _, data, ends in _bytes(texts)
    ]
    spaces = pl.Series("words", np.concatenate([np.zeros(0, dtype=np.int64), *counts]), dtype=pl.UInt32)
    return spaces + (texts != "").cast(pl.UInt32)


def _suspect(texts: pl.Series) -> pl.Series:
    """Return the rows of the texts that may need work."""
    text = pl.col("text").str
    looks = [text.starts_with(" "), text.ends_with(" "), *(text.contains(expression) for expression in SUSPECT_ASCII)]
    looked = texts.to_frame("text").select(found=pl.any_horizontal(looks), other=text.len_bytes() != text.len_chars())
    found, other = looked["found"], looked["other"].arg_true()
    if not other.is_empty():
        found[other] |= texts.gather(other).str.contains(SUSPECT)
    for first, data, ends in _bytes(texts):
        control = np.flatnonzero(data < ord(" "))
        if len(control) > len(ends):  # more than the line break behind each text
            rows = np.searchsorted(ends, np.setdiff1d(control, ends - 1, assume_unique=True), side="right")
            found[np.unique(first + rows)] = True
    return found.arg_true()


def _bytes(texts: pl.Series) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield blocks of texts: the row of the first, the bytes of all with a line break behind each, and their ends."""
    for first in range(0, len(texts), BLOCK):
        block = texts[first : first + BLOCK]
        data = np.frombuffer((block.str.join("\n").item() + "\n").encode(), dtype=np.uint8)
        yield first, data, np.cumsum(block.str.len_bytes().to_numpy().astype(np.int64) + 1)


def _repair(text: str) -> str:
    """Undo entities, and UTF-8 that was read as Windows-1252."""
    if "&" in text:
        text = html.unescape(text)
    if "Ã" in text or "â" in text or "Â" in text:
        try:
            return codecs.charmap_encode(text, "strict", WINDOWS_1252)[0].decode("utf-8")
        except UnicodeError:
            return text
    return text
