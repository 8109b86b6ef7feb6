"""Texts as people write them, made plain: no markup, no entities, no broken encoding, single spaces."""

from __future__ import annotations

import html

import polars as pl

# Known tags only: "a < b and c > d" is no markup. Amazon links videos and products in double brackets.
TAGS = "a|b|br|i|p|em|strong|span|div|ul|ol|li|u|h[1-6]|img|font|video|input"
MARKUP = rf"(?i)</?(?:{TAGS})\b[^<>]*>|\[\[(?:VIDEOID|ASIN):[^\]]*\]\]"
# UTF-8 that was once read as Windows-1252 shows as these pairs.
MOJIBAKE = "Ã[\u0080-\u00bf\u0152-\u0178\u2013-\u2122]|â[\u0080\u20ac]|Â[\u00a0-\u00bf]"
ENTITY = r"&(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[a-zA-Z]{2,8});"
SPACES = r"[\s\p{Cc}\u{200b}\u{feff}]+"


def clean_text(text: pl.Expr) -> pl.Expr:
    """Return the texts without markup, entities, mojibake and repeated white space; null becomes empty."""
    text = text.fill_null("")
    text = _where(text, ENTITY, html.unescape)
    text = text.str.replace_all(MARKUP, " ")
    text = _where(text, MOJIBAKE, _undo_mojibake)
    return text.str.replace_all(SPACES, " ").str.strip_chars(" ")


def _where(text: pl.Expr, pattern: str, repair: object) -> pl.Expr:
    """Apply a Python repair only to the few texts that need it, so that the others stay at the speed of the engine."""

    def repaired(texts: pl.Series) -> pl.Series:
        rows = texts.str.contains(pattern).arg_true()
        if rows.is_empty():
            return texts
        return texts.scatter(rows, [repair(value) for value in texts.gather(rows)])  # type: ignore[operator]

    return text.map_batches(repaired, return_dtype=pl.String, is_elementwise=True)


def _undo_mojibake(text: str) -> str:
    try:
        return text.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return text
