"""Word frequencies of each user or item: how much of a text they alone explain, to compare swap gaps with.

p(word | name) = (count of the word in the name's training texts + m p(word)) / (words of these texts + m)

The pseudo-count m is the one of PSEUDO_COUNTS under which the texts have the lowest loss. The gap is the loss under
another name minus the loss under the own one, per word. It is no upper bound: a model that uses the order of words, or
the rating, can exceed it.

`gavamoe.preference.word_gain` interpolates words of groups with words of all texts too. The two share no code, because
little but the formula is the same. It chooses m on training texts and counts unseen words. It holds all words of each
group as a dense row, which users and items are too many for. With its models the gap would be another number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

PSEUDO_COUNTS = (30, 100, 300, 1_000, 3_000, 10_000, 100_000)


class WordModels:
    """Word frequencies of each name.

    Args:
        names: user or item of each training text, [m]; None if it is not known.
        texts: normalized training texts, [m]; at least one has a word.
    """

    def __init__(self, names: Sequence[str | None], texts: Sequence[str]) -> None:
        self._vectorizer = CountVectorizer(token_pattern=r"(?u)\S+", lowercase=False)
        counts = sparse.csr_array(self._vectorizer.fit_transform(texts)).astype(float)
        known = [row for row, name in enumerate(names) if name is not None]
        self._place = {name: place for place, name in enumerate(sorted({str(names[row]) for row in known}))}
        rows = np.array([self._place[str(names[row])] for row in known], dtype=np.int64)
        ones = np.ones(len(known))
        of_name = sparse.csr_array((ones, (rows, np.array(known, dtype=np.int64))), (len(self._place), len(texts)))
        self._counts = sparse.csr_array(of_name @ counts)
        totals = np.asarray(counts.sum(axis=0)).ravel()
        self._background = totals / totals.sum()

    def gap(self, texts: Sequence[str], own: Sequence[str | None], others: Sequence[str | None]) -> float | None:
        """Return the loss of texts under other names minus under their own, in nats per word.

        Args:
            texts: normalized texts, [n].
            own, others: names, [n]; rows where one has no training text do not count.

        Returns:
            None where no row counts.
        """
        rows = [row for row in range(len(texts)) if own[row] in self._place and others[row] in self._place]
        counts = sparse.csr_array(self._vectorizer.transform([texts[row] for row in rows])) if rows else None
        if counts is None or counts.nnz == 0:
            return None
        found = [self._seen(counts, [names[row] for row in rows]) for names in (own, others)]
        losses = np.array([[_loss(pseudo, *each) for each in found] for pseudo in PSEUDO_COUNTS])
        best = losses[losses[:, 0].argmin()]
        return float((best[1] - best[0]) / counts.sum())

    def _seen(self, counts: sparse.csr_array, names: Sequence[str | None]) -> tuple[np.ndarray, ...]:
        """Return, for each distinct word of each text, its count, probability, and the name's count of it and of all.

        Returns:
            Four arrays, [distinct words of all texts].
        """
        seen, words = np.zeros(counts.nnz), np.zeros(counts.nnz)
        for row, name in enumerate(names):
            part = slice(counts.indptr[row], counts.indptr[row + 1])
            of_name = self._counts[[self._place[str(name)]]].toarray().ravel()
            seen[part], words[part] = of_name[counts.indices[part]], of_name.sum()
        return counts.data, self._background[counts.indices], seen, words


def _loss(pseudo_count: float, number: np.ndarray, p: np.ndarray, seen: np.ndarray, words: np.ndarray) -> float:
    """Return the loss of the words in nats under one pseudo-count."""
    return -float((number * np.log((seen + pseudo_count * p) / (words + pseudo_count))).sum())
