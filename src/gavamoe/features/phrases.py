"""Where a noun stands for itself: at the end of its phrase, not as the first half of a compound (music video)."""

from __future__ import annotations

import numpy as np

from gavamoe.features.lexicon import CLOSED
from gavamoe.features.tokens import Lookup, Tokens

CLOSING = Lookup(sorted(CLOSED))
S, Y, D, E, L = b"sydel"


def ends_its_phrase(tokens: Tokens, place: np.ndarray) -> np.ndarray:
    """Whether the nouns at `place` end their phrases; bool [n].

    What comes next must be a mark, a word of a closed class, an adverb or a participle (a story told well), or a verb
    that agrees with the noun: "the story works" but not "the story line". Plurals hardly ever begin a compound.
    """
    next_place = place + 1  # the mark at the end of its text at the latest
    closed = np.zeros(len(place), dtype=bool)
    closed[CLOSING.find(tokens.code[next_place])[0]] = True
    last, before_last = _letters_at_end(tokens, next_place)
    verb_or_adverb = (
        ((last == S) & (before_last != S)) | ((last == Y) & (before_last == L)) | ((last == D) & (before_last == E))
    )
    return closed | verb_or_adverb | (_letters_at_end(tokens, place)[0] == S)


def _letters_at_end(tokens: Tokens, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the last byte of each word, and the one before it, in lower case; two [n]."""
    written = np.frombuffer(tokens.written, dtype=np.uint8)
    end = tokens.start[place] + tokens.length[place] - 1
    return written[end] | 32, written[np.maximum(end - 1, 0)] | 32
