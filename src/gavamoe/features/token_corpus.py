"""A corpus as arrays over its running words, so that patterns of neighbouring words are counted without a loop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl

from gavamoe.features.lexicon import SENTENCE_ENDS
from gavamoe.features.tokens import Tokens, codes_of


@dataclass(frozen=True)
class TokenCorpus:
    """The words of a corpus.

    Arrays over distinct words have n_names + 1 entries: the last one is the edge of a sentence, which stands where a
    sentence has no word before or after, so that neighbours can be looked up without exceptions.

    Attributes:
        names: the distinct words and marks, [n_names].
        word: place in `names` of each running word, [n_words].
        segment: its sentence.
        row: its text.
        before: place of the word before it in the sentence.
        capital: whether it is written with a capital although it does not begin the sentence.
        counts: how often each distinct word occurs, [n_names + 1].
    """

    EDGE: ClassVar[int] = -1

    names: pl.Series
    word: np.ndarray
    segment: np.ndarray
    row: np.ndarray
    before: np.ndarray
    capital: np.ndarray
    counts: np.ndarray

    @classmethod
    def from_texts(cls, texts: pl.Series) -> TokenCorpus:
        """Read the words of texts, [n] strings."""
        tokens = Tokens.from_texts(texts)
        _, first, word = np.unique(tokens.code, return_index=True, return_inverse=True)
        names = pl.Series([tokens.text(place) for place in first], dtype=pl.String)
        ends = np.isin(tokens.code, codes_of(SENTENCE_ENDS))
        segment: np.ndarray = np.cumsum(ends) - ends.astype(np.int64)
        before = np.full(len(word), cls.EDGE)
        before[1:] = np.where(segment[1:] == segment[:-1], word[:-1], cls.EDGE)
        capital = tokens.capital & (before != cls.EDGE)
        counts = np.append(np.bincount(word, minlength=len(names)), 0)
        return cls(names, word, segment, tokens.row, before, capital, counts)

    def after(self, distance: int) -> np.ndarray:
        """Return the place in `names` of the word so many words later in the same sentence, [n_words]."""
        later = np.full(len(self.word), self.EDGE)
        same = self.segment[distance:] == self.segment[:-distance]
        later[:-distance] = np.where(same, self.word[distance:], self.EDGE)
        return later

    def back(self, distance: int) -> np.ndarray:
        """Return the place in `names` of the word so many words earlier in the same sentence, [n_words]."""
        earlier = np.full(len(self.word), self.EDGE)
        same = self.segment[distance:] == self.segment[:-distance]
        earlier[distance:] = np.where(same, self.word[:-distance], self.EDGE)
        return earlier

    def those(self, words: Iterable[str]) -> np.ndarray:
        """Mark distinct words, bool [n_names + 1]."""
        return np.append(self.names.is_in(list(words)).to_numpy(), False)

    def names_of(self, marked: np.ndarray) -> list[str]:
        """Return the marked distinct words."""
        return self.names.filter(pl.Series(marked[:-1])).to_list()

    def count(self, places: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Count how often each distinct word is among the places (or sum their weights), [n_names + 1]."""
        return np.bincount(places, weights, minlength=len(self.counts))

    def share(self, occurs: np.ndarray) -> np.ndarray:
        """Return the share of each distinct word's occurrences that are marked, [n_names + 1]."""
        return self.count(self.word[occurs]) / np.maximum(self.counts, 1)
