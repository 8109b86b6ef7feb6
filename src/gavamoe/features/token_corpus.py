"""A tokenised corpus as arrays, so that patterns of neighbouring words are counted without a Python loop."""

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
    """The tokens of a corpus, and statistics of its vocabulary.

    A word id is a position in `vocabulary`. The id EDGE (-1) stands for the position before the first or after the last
    token of a sentence, so that neighbours are looked up without special cases. Arrays over the vocabulary therefore
    have n_vocabulary + 1 entries; the last one belongs to EDGE.

    Attributes:
        vocabulary: the distinct words and punctuation marks, [n_vocabulary].
        word: word id of each token, [n_tokens].
        segment: sentence number of each token, [n_tokens].
        row: text number of each token, [n_tokens].
        previous: word id of the token before each token in its sentence, [n_tokens].
        capital: whether the token has an initial capital without opening its sentence, bool [n_tokens].
        counts: number of occurrences of each word, [n_vocabulary + 1].
    """

    EDGE: ClassVar[int] = -1

    vocabulary: pl.Series
    word: np.ndarray
    segment: np.ndarray
    row: np.ndarray
    previous: np.ndarray
    capital: np.ndarray
    counts: np.ndarray

    @classmethod
    def from_texts(cls, texts: pl.Series) -> TokenCorpus:
        """Tokenise texts, [n] strings."""
        tokens = Tokens.from_texts(texts)
        _, first, word = np.unique(tokens.code, return_index=True, return_inverse=True)
        vocabulary = pl.Series([tokens.text(position) for position in first], dtype=pl.String)
        ends = np.isin(tokens.code, codes_of(SENTENCE_ENDS))
        segment: np.ndarray = np.cumsum(ends) - ends.astype(np.int64)
        previous = np.full(len(word), cls.EDGE)
        previous[1:] = np.where(segment[1:] == segment[:-1], word[:-1], cls.EDGE)
        capital = tokens.capital & (previous != cls.EDGE)
        counts = np.append(np.bincount(word, minlength=len(vocabulary)), 0)
        return cls(vocabulary, word, segment, tokens.row, previous, capital, counts)

    def after(self, distance: int) -> np.ndarray:
        """Return the word id `distance` tokens after each token in its sentence, [n_tokens]."""
        later = np.full(len(self.word), self.EDGE)
        same = self.segment[distance:] == self.segment[:-distance]
        later[:-distance] = np.where(same, self.word[distance:], self.EDGE)
        return later

    def before(self, distance: int) -> np.ndarray:
        """Return the word id `distance` tokens before each token in its sentence, [n_tokens]."""
        earlier = np.full(len(self.word), self.EDGE)
        same = self.segment[distance:] == self.segment[:-distance]
        earlier[distance:] = np.where(same, self.word[:-distance], self.EDGE)
        return earlier

    def mask(self, words: Iterable[str]) -> np.ndarray:
        """Return which vocabulary entries are among the words, bool [n_vocabulary + 1]."""
        return np.append(self.vocabulary.is_in(list(words)).to_numpy(), False)

    def words_in(self, mask: np.ndarray) -> list[str]:
        """Return the words that a mask over the vocabulary selects."""
        return self.vocabulary.filter(pl.Series(mask[:-1])).to_list()

    def count(self, words: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Count each vocabulary entry among word ids (or sum its weights), [n_vocabulary + 1]."""
        return np.bincount(words, weights, minlength=len(self.counts))

    def share(self, tokens: np.ndarray) -> np.ndarray:
        """Return, of each word's occurrences, the share that a mask over the tokens selects, [n_vocabulary + 1]."""
        return self.count(self.word[tokens]) / np.maximum(self.counts, 1)
