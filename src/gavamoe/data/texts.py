"""Texts as people write them, made plain: no markup, no entities, no broken encoding, single spaces."""

from __future__ import annotations

import html

import polars as pl

# Known tags only: "a < b and c > d" is no markup. Amazon links videos and products in double brackets.
TAGS = "a|b|br|i|p|em|strong|span|div|ul|ol|li|u|h[1-6]|img|font|video|input"
MARKUP = rf"(?i)</?(?:{TAGS})\b[^<>]*>|\[\[(?:VIDEOID|ASIN):[^\]]*\]\]"
SPACES = r"[\s\p{Cc}\u{200b}\u{feff}]+"
# What any of the above needs to be there: one fast search tells the many plain texts from the few to work on.
SUSPECT = r"[\x00-\x1f\x7f&<ÃâÂ\u{80}-\u{a0}\u{1680}\u{2000}-\u{200b}\u{2028}-\u{205f}\u{3000}\u{feff}]|\[\[|  |^ | $"


def clean_texts(texts: pl.Series) -> pl.Series:
    """Return the texts without markup, entities, mojibake and repeated white space; null becomes empty; [n] to [n]."""
    texts = texts.fill_null("")
    rows = texts.str.contains(SUSPECT).arg_true()
    if rows.is_empty():
        return texts
    suspects = pl.Series([_repair(text) for text in texts.gather(rows)], dtype=pl.String)
    plain = suspects.str.replace_all(MARKUP, " ").str.replace_all(SPACES, " ").str.strip_chars(" ")
    return plain.alias(texts.name) if len(rows) == len(texts) else texts.scatter(rows, plain)


def word_count(text: pl.Expr) -> pl.Expr:
    """Count the words of cleaned texts; they are divided by single spaces, and counting those is fast."""
    return text.str.count_matches(" ", literal=True) + (text != "").cast(pl.UInt32)


def _repair(text: str) -> str:
    """Undo entities, and UTF-8 that was read as Windows-1252."""
    if "&" in text:
        text = html.unescape(text)
    if "Ã" in text or "â" in text or "Â" in text:
        try:
            return text.encode("cp1252").decode("utf-8")
        except UnicodeError:
            return text
    return text
