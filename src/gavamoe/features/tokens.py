"""Tokenise texts into one array of 64-bit codes, so that millions of words are compared without strings.

A token is a word or a punctuation mark. A word is a run of letters, including hyphens and apostrophes between letters.
In scripts without blanks each character is a word (`gavamoe.words`).
The punctuation marks are . ! ? ; : , ( ), those of other scripts that mean the same, and the end of a text. A
possessive 's is a separate word, written s; after a pronoun it is read as the verb "is". All other characters only
separate tokens. The code of a word of up to 8 bytes is its bytes; the code of a longer word is a hash of its first 24
bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from gavamoe.words import separate

END_OF_TEXT = "\n"
PUNCTUATION = ".!?;:,()" + END_OF_TEXT
PRONOUNS = ("it", "that", "what", "he", "she", "there", "here", "who")
# Odd constants of the hash, which spread the bytes after the eighth over all 64 bits.
SECOND, THIRD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
PADDING = 32
LETTER, MARK, JOINER = 1, 2, 3
KINDS = bytes(
    LETTER
    if chr(byte).isalpha() or byte > 127
    else MARK
    if chr(byte) in PUNCTUATION
    else JOINER
    if chr(byte) in "-'"
    else 0
    for byte in range(256)
)
FIRST_BYTES = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)  # the last one is for longer words


@dataclass(frozen=True)
class Tokens:
    """The tokens of texts in reading order; each text ends with the token END_OF_TEXT.

    Attributes:
        data: the bytes of all texts as written, preceded by one space and followed by PADDING spaces.
        start: first byte of each token in `data`, [n_tokens].
        length: number of bytes of each token, [n_tokens].
        code: code of each token in lower case, uint64 [n_tokens].
    """

    data: bytes
    start: np.ndarray
    length: np.ndarray
    code: np.ndarray

    @classmethod
    def from_texts(cls, texts: pl.Series, separated: bool = False) -> Tokens:
        """Tokenise texts, [n] strings; null is an empty text.

        Args:
            texts: the texts.
            separated: whether `gavamoe.words.separate` was applied to the texts already.
        """
        texts = texts.cast(pl.String).fill_null("")
        joined = (
            _normalized(texts if separated else separate(texts)).str.join(END_OF_TEXT).item() + END_OF_TEXT
            if len(texts)
            else ""
        )
        data = b" " + joined.encode() + b" " * PADDING
        lower = data.lower()
        start, length = _token_spans(lower)
        code = _codes(np.frombuffer(lower, dtype=np.uint8), start, length)
        _replace_verb_s(code)
        return cls(data, start, length, code)

    @property
    def capital(self) -> np.ndarray:
        """Whether each token is written with an initial capital from A to Z, bool [n_tokens]."""
        first = np.frombuffer(self.data, dtype=np.uint8)[self.start]
        return (first >= ord("A")) & (first <= ord("Z"))

    @property
    def row(self) -> np.ndarray:
        """Text number of each token, from 0, int64 [n_tokens]."""
        ends = self.code == codes_of([END_OF_TEXT])
        return np.cumsum(ends) - ends.astype(np.int64)

    def text(self, position: int) -> str:
        """Return one token as a string."""
        start, length = self.start[position], self.length[position]
        if length <= 8:  # the code is the word itself, also where 's is read as "is"
            return int(self.code[position]).to_bytes(8, "little").rstrip(b"\0").decode()
        return self.data[start : start + length].lower().decode()


def codes_of(words: Iterable[str]) -> np.ndarray:
    """Return the codes of words without normalising them; uint64 [n]."""
    encoded = [word.encode() for word in words]
    length = np.array([len(word) for word in encoded], dtype=np.int64)
    data = np.frombuffer(b"".join(encoded) + b" " * PADDING, dtype=np.uint8)
    return _codes(data, np.cumsum(length) - length, length)


class Lookup:
    """Index of known words by their codes.

    Args:
        words: the known words; a word's number is its position in this sequence.
    """

    def __init__(self, words: Iterable[str]) -> None:
        codes = codes_of(words)
        self._order = np.argsort(codes, kind="stable")
        self._codes = codes[self._order]
        # A small hash table rejects most unknown words with one look-up.
        self._maybe = np.zeros(1 << 16, dtype=bool)
        self._maybe[self._slots(codes)] = True

    def locate(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Locate the known words in an array of codes.

        Args:
            codes: uint64 [n].

        Returns:
            The positions of known words in `codes`, ascending, [m], and the number of the word at each of them, [m].
            If a word was given more than once, its number is the first one.
        """
        positions = np.flatnonzero(self._maybe[self._slots(codes)])
        if not len(self._codes):
            return positions, positions
        at = np.searchsorted(self._codes, codes[positions])
        known = self._codes[np.minimum(at, len(self._codes) - 1)] == codes[positions]
        return positions[known], self._order[at[known]]

    @staticmethod
    def _slots(codes: np.ndarray) -> np.ndarray:
        return (codes * SECOND) >> np.uint64(48)


def _normalized(texts: pl.Series) -> pl.Series:
    """Replace line breaks and non-ASCII characters other than letters, so that every byte above 127 is a letter."""
    texts = texts.str.replace_all(END_OF_TEXT, " ", literal=True)
    rows = (texts.str.len_bytes() != texts.str.len_chars()).arg_true()
    if rows.is_empty():
        return texts
    plain = texts.gather(rows).str.replace_all("\u2019", "'", literal=True)
    # Persian and Indic words have invisible joiners inside.
    plain = plain.str.replace_all("([\\p{L}\\p{M}])[\u200c\u200d]+", "$1")
    plain = plain.str.replace_all(r"[^\p{L}\p{M}\x00-\x7f]", " ")
    lower = pl.when(plain.str.len_bytes() != plain.str.len_chars()).then(plain.str.to_lowercase()).otherwise(plain)
    return texts.scatter(rows, pl.select(lower).to_series())


def _token_spans(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the first byte and the length of each token; `data` starts with one space and ends with PADDING spaces.

    A hyphen or an apostrophe between letters belongs to the word, except an apostrophe before a single s.
    """
    kind, byte = np.frombuffer(data.translate(KINDS), dtype=np.uint8), np.frombuffer(data, dtype=np.uint8)
    letter, mark = kind == LETTER, kind == MARK
    joiner = np.flatnonzero(kind == JOINER)
    joiner = joiner[letter[joiner - 1] & letter[joiner + 1]]
    possessive = (byte[joiner] == ord("'")) & (byte[joiner + 1] == ord("s")) & ~letter[joiner + 2]
    letter[joiner[~possessive]] = True
    # Positions are of the byte before a token: a change of `letter`, or a punctuation mark at the next byte.
    before = np.flatnonzero((letter[1:] & ~letter[:-1]) | mark[1:])
    last = np.flatnonzero((letter[:-1] & ~letter[1:]) | mark[:-1])
    return before + 1, last - before


def _codes(data: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return the codes of the tokens at `start`; `data` continues for PADDING bytes after the last token."""
    eight = np.ndarray((len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))
    code = eight[start] & FIRST_BYTES.take(length, mode="clip")
    for skipped, factor in ((8, SECOND), (16, THIRD)):
        long = np.flatnonzero(length > skipped)
        code[long] ^= (eight[start[long] + skipped] & FIRST_BYTES.take(length[long] - skipped, mode="clip")) * factor
    return code


def _replace_verb_s(code: np.ndarray) -> None:
    """Replace 's after a pronoun by "is", in place."""
    s = np.flatnonzero(code == codes_of(["s"]))
    s = s[s > 0]
    code[s[np.isin(code[s - 1], codes_of(PRONOUNS))]] = codes_of(["is"])
