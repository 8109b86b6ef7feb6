"""How much groups of reviews tell about the words of their texts: a unigram model per group against one for all.

    p(w)     = (n_w + 1/2) / (N + (V + 1) / 2)                     all training texts, V words and one for unseen words
    p(w | g) = (c_gw + m p(w)) / (C_g + m)                         the group's texts, interpolated with all texts
    c_gw     = n_gw + N_g / 2N,  C_g = sum_w c_gw                  so that the groups' c add up to what p(w) is made of

The pseudo-count m maximises the likelihood of each training text under its group without that text. So a grouping that
says nothing about texts gets a large m, and its gain is about 0. Leaving out single words would not do: a text repeats
its words. Shape legend: N texts, V words, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

from gavamoe.words import normalized_words

PSEUDO_COUNTS = np.logspace(1, 6, 21)  # candidates of m, in words


@dataclass(frozen=True)
class WordCounts:
    """Words of training and held-out texts, counted.

    Args:
        words: the V words of the training texts, in alphabetical order.
        train: counts of the training texts, [N, V].
        held_out: counts of the held-out texts, [M, V + 1]; the last column counts words that training lacks.
    """

    words: np.ndarray
    train: sparse.csr_matrix
    held_out: sparse.csr_matrix

    @classmethod
    def of(cls, train: Sequence[str], held_out: Sequence[str] | None = None) -> WordCounts | None:
        """Count the words of texts, split by `words.normalized_words`; None if a given part has no word."""
        if not any(text.strip() for text in train):
            return None
        counter = CountVectorizer(analyzer=normalized_words)
        train_NV = counter.fit_transform(train).tocsr()
        words = counter.get_feature_names_out()
        if held_out is None:
            return cls(words, train_NV, sparse.csr_matrix((0, len(words) + 1)))
        known_MV = counter.transform(held_out)
        total_M = np.array([len(normalized_words(text)) for text in held_out])
        if total_M.sum() == 0:
            return None
        unseen_M = total_M - np.asarray(known_MV.sum(1)).ravel()
        return cls(words, train_NV, sparse.hstack([known_MV, sparse.csr_matrix(unseen_M[:, None])]).tocsr())

    @classmethod
    def of_units(cls, train_NT: np.ndarray, held_out_MT: np.ndarray) -> WordCounts:
        """Count the units of texts (`text_target`) instead of their words.

        Args:
            train_NT: ids of the units of each training text, counted from 1; 0 is padding.
            held_out_MT: the same of each held-out text; units that training lacks count as unseen.
        """
        units = int(train_NT.max())
        held_out_MT = np.where(held_out_MT > units, units + 1, held_out_MT)
        train_NV, held_out_MV = _count_units(train_NT, units), _count_units(held_out_MT, units + 1)
        return cls(np.arange(1, units + 1).astype(str), train_NV, held_out_MV)

    def background(self) -> np.ndarray:
        """Return p(w) of the words and of unseen words, [V + 1]; it sums to 1."""
        count_V = np.append(np.asarray(self.train.sum(0)).ravel(), 0) + 0.5
        background_V: np.ndarray = count_V / count_V.sum()
        return background_V

    def group_counts(self, group_N: np.ndarray, groups: int) -> np.ndarray:
        """Return how often each group uses each word in the training texts, [G, V + 1]."""
        return _sum_by_group(self.train, group_N, groups, self.held_out.shape[1])


class TextGain(NamedTuple):
    """What a grouping says about held-out words, in nats per word, with its standard error over texts."""

    nats: float
    error: float


def text_gain(counts: WordCounts, train_group: np.ndarray, held_out_group: np.ndarray) -> TextGain:
    """Return by how many nats per held-out word the groups' unigram models beat the model of all texts.

    Args:
        counts: the words of training and held-out texts.
        train_group: the group of each training text, integers from 0, [N].
        held_out_group: the group of each held-out text, [M].

    Returns:
        The gain, 0 if groups say nothing about words and below 0 if they mislead.
    """
    groups = int(max(train_group.max(), held_out_group.max())) + 1
    background_V = counts.background()
    train_GV = counts.group_counts(train_group, groups)
    train_GV += 0.5 * train_GV.sum(1, keepdims=True) / train_GV.sum()
    mass = best_pseudo_count(counts.train, train_group, train_GV, background_V)
    total_G1 = train_GV.sum(1, keepdims=True)
    log_ratio_GV = np.log((train_GV + mass * background_V) / (total_G1 + mass)) - np.log(background_V)
    gain_M, words_M = np.zeros(len(held_out_group)), np.asarray(counts.held_out.sum(1)).ravel()
    for group in np.unique(held_out_group):
        members = np.flatnonzero(held_out_group == group)
        gain_M[members] = counts.held_out[members] @ log_ratio_GV[group]
    nats = gain_M.sum() / words_M.sum()
    error = np.sqrt(np.square(gain_M - nats * words_M).sum()) / words_M.sum()
    return TextGain(float(nats), float(error))


def best_pseudo_count(
    train_NV: sparse.csr_matrix, group_N: np.ndarray, train_GV: np.ndarray, background_V: np.ndarray
) -> float:
    """Return the pseudo-count in `PSEUDO_COUNTS` with the highest leave-one-text-out likelihood of the training texts.

    Args:
        train_NV: counts of the training texts.
        group_N: their groups.
        train_GV: their smoothed sums by group, c_gw.
        background_V: p(w).
    """
    entry = train_NV.tocoo()  # one entry for each word of each text
    length_N = np.asarray(train_NV.sum(1)).ravel()
    others = train_GV[group_N[entry.row], entry.col] - entry.data
    others_total = (train_GV.sum(1)[group_N] - length_N)[entry.row]
    background = background_V[entry.col]
    likelihoods = [
        float((entry.data * np.log((others + mass * background) / (others_total + mass))).sum())
        for mass in PSEUDO_COUNTS
    ]
    return float(PSEUDO_COUNTS[int(np.argmax(likelihoods))])


def _count_units(unit_NT: np.ndarray, units: int) -> sparse.csr_matrix:
    """Return how often each row has each unit 1..units, [N, units]."""
    row, place = np.nonzero(unit_NT)
    column = unit_NT[row, place].astype(np.int64) - 1
    return sparse.csr_matrix((np.ones(len(row)), (row, column)), shape=(len(unit_NT), units))


def _sum_by_group(count_NV: sparse.csr_matrix, group_N: np.ndarray, groups: int, columns: int) -> np.ndarray:
    """Sum the rows of each group, [groups, columns]; columns that `count_NV` lacks are 0."""
    texts = len(group_N)
    member_GN = sparse.csr_matrix((np.ones(texts), (group_N, np.arange(texts))), shape=(groups, texts))
    sum_GV = np.zeros((groups, columns))
    sum_GV[:, : count_NV.shape[1]] = (member_GN @ count_NV).toarray()
    return sum_GV
