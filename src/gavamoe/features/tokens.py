"""Texts as one array of words; every word is a 64-bit code, so millions of words are compared without a string.

A word is a run of letters, hyphens and apostrophes inside it included; a mark is one of . ! ? ; : , ( ) and the end of
a text. A possessive 's is a word of its own, written s; after a pronoun it is the verb. Everything else only divides.
The code of a word of up to 8 bytes is those bytes; a longer one is mixed from its first 24.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

END_OF_TEXT = "\n"
SPECIAL_TOKENS = ".!?;:,()" + END_OF_TEXT
PRONOUNS = ("it", "that", "what", "he", "she", "there", "here", "who")
# Odd constants that spread the bytes beyond the eighth over all bits.
SECOND, THIRD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
PADDING = 32
LETTER, MARK, JOINT = 1, 2, 3
KINDS = bytes(
    LETTER
    if chr(byte).isalpha() or byte > 127
    else MARK
    if chr(byte) in SPECIAL_TOKENS
    else JOINT
    if chr(byte) in "-'"
    else 0
    for byte in range(256)
)
FIRST_BYTES = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)  # the last serves longer words


@dataclass(frozen=True)
class Tokens:
    """The words and marks of texts in reading order, in lower case; each text ends with the mark END_OF_TEXT.

    Attributes:
        written: the bytes of all texts, after a space and before PADDING of them.
        start: where in `written` each begins, [n_tokens].
        length: its bytes, [n_tokens].
        code: stands for it, uint64 [n_tokens].
    """

    written: bytes
    start: np.ndarray
    length: np.ndarray
    code: np.ndarray

    @classmethod
    def from_texts(cls, texts: pl.Series) -> Tokens:
        """Read the words of texts, [n] strings; null is an empty text."""
        joined = _plain(texts).str.join(END_OF_TEXT).item() + END_OF_TEXT if len(texts) else ""
        written = b" " + joined.encode() + b" " * PADDING
        data = written.lower()
        start, length = _words_and_marks(data)
        code = _codes(np.frombuffer(data, dtype=np.uint8), start, length)
        _read_is(code)
        return cls(written, start, length, code)

    @property
    def capital(self) -> np.ndarray:
        """Whether each word was written with a capital letter from A to Z, bool [n_tokens]."""
        first = np.frombuffer(self.written, dtype=np.uint8)[self.start]
        return (first >= ord("A")) & (first <= ord("Z"))

    @property
    def row(self) -> np.ndarray:
        """The text of each word, from 0, int64 [n_tokens]."""
        ends = self.code == codes_of([END_OF_TEXT])
        return np.cumsum(ends) - ends.astype(np.int64)

    def text(self, place: int) -> str:
        """Return one word as a string."""
        start, length = self.start[place], self.length[place]
        if length <= 8:  # the code is the word, also where 's is read as "is"
            return int(self.code[place]).to_bytes(8, "little").rstrip(b"\0").decode()
        return self.written[start : start + length].lower().decode()


def codes_of(words: Iterable[str]) -> np.ndarray:
    """Return the codes of words, which are taken as they are; uint64 [n]."""
    encoded = [word.encode() for word in words]
    length = np.array([len(word) for word in encoded], dtype=np.int64)
    data = np.frombuffer(b"".join(encoded) + b" " * PADDING, dtype=np.uint8)
    return _codes(data, np.cumsum(length) - length, length)


class Lookup:
    """Finds known words among many.

    Args:
        words: the known words; the place of each is its number.
    """

    def __init__(self, words: Iterable[str]) -> None:
        codes = codes_of(words)
        self._order = np.argsort(codes, kind="stable")
        self._codes = codes[self._order]
        # Most words are not known, and one look at a small table tells so.
        self._maybe = np.zeros(1 << 16, dtype=bool)
        self._maybe[self._slots(codes)] = True

    def find(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of known words in `codes`, ascending, and the number of each; of equal words the first."""
        places = np.flatnonzero(self._maybe[self._slots(codes)])
        if not len(self._codes):
            return places, places
        at = np.searchsorted(self._codes, codes[places])
        known = self._codes[np.minimum(at, len(self._codes) - 1)] == codes[places]
        return places[known], self._order[at[known]]

    @staticmethod
    def _slots(codes: np.ndarray) -> np.ndarray:
        return (codes * SECOND) >> np.uint64(48)


def _plain(texts: pl.Series) -> pl.Series:
    """Write every mark and space with ASCII, so that the other bytes are letters; one line a text."""
    texts = texts.cast(pl.String).fill_null("").str.replace_all(END_OF_TEXT, " ", literal=True)
    rows = (texts.str.len_bytes() != texts.str.len_chars()).arg_true()
    if rows.is_empty():
        return texts
    plain = texts.gather(rows).str.replace_all("\u2019", "'", literal=True)
    plain = plain.str.replace_all(r"[^\p{L}\p{M}\x00-\x7f]", " ")
    lower = pl.when(plain.str.len_bytes() != plain.str.len_chars()).then(plain.str.to_lowercase()).otherwise(plain)
    return texts.scatter(rows, pl.select(lower).to_series())


def _words_and_marks(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Find where words and marks begin and how long they are; `data` begins with a space and ends with PADDING of them.

    A hyphen or an apostrophe belongs to a word between letters, but not the apostrophe before a lone s.
    """
    kind, byte = np.frombuffer(data.translate(KINDS), dtype=np.uint8), np.frombuffer(data, dtype=np.uint8)
    letter, mark = kind == LETTER, kind == MARK
    joint = np.flatnonzero(kind == JOINT)
    joint = joint[letter[joint - 1] & letter[joint + 1]]
    possessive = (byte[joint] == ord("'")) & (byte[joint + 1] == ord("s")) & ~letter[joint + 2]
    letter[joint[~possessive]] = True
    # Counted from the byte before a word, which is what both find: an edge in `letter`, or a mark behind.
    before = np.flatnonzero((letter[1:] & ~letter[:-1]) | mark[1:])
    last = np.flatnonzero((letter[:-1] & ~letter[1:]) | mark[:-1])
    return before + 1, last - before


def _codes(data: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Compute the codes of the words at `start`; `data` goes on for PADDING bytes behind the last."""
    eight = np.ndarray((len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))
    code = eight[start] & FIRST_BYTES.take(length, mode="clip")
    for skipped, factor in ((8, SECOND), (16, THIRD)):
        long = np.flatnonzero(length > skipped)
        code[long] ^= (eight[start[long] + skipped] & FIRST_BYTES.take(length[long] - skipped, mode="clip")) * factor
    return code


def _read_is(code: np.ndarray) -> None:
    """Read 's as "is" after a pronoun."""
    s = np.flatnonzero(code == codes_of(["s"]))
    s = s[s > 0]
    code[s[np.isin(code[s - 1], codes_of(PRONOUNS))]] = codes_of(["is"])
