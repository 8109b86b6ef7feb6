"""How a text becomes the words that metrics compare."""

from __future__ import annotations

import re

# A word with its inner apostrophes and hyphens split off as the field does, a number, or one mark of punctuation.
TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|\S", re.UNICODE)


def normalize(text: str) -> str:
    """Lowercase, and split punctuation from words: "It's fun, 2.5 stars" -> "it ' s fun , 2.5 stars". Idempotent."""
    lowered = text.lower().lower()  # twice: a few letters lower into a letter and a mark
    return " ".join(TOKEN.findall(lowered))


def truncate(text: str, words: int) -> str:
    """The first so many words."""
    return " ".join(text.split()[:words])
