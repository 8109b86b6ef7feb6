"""TF-IDF profiles of users or items, and the rank of the true one when a text is the query.

profile of a name = TF-IDF vector of all its training texts together; similarity = cosine

A text that is about its item is more similar to the profile of that item than to other profiles. Ties count with their
expectation under a random order, so a text without a known word ranks as a guess does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

MAX_CELLS = 4_000_000  # similarities that are held at once: 32 MB
DECIMALS = 7  # similarities that agree this far are ties: they differ only by the order of summation


@dataclass(frozen=True)
class Ranks:
    """Where the true name of each of n texts ranks among all names.

    Args:
        known: whether the true name has a profile, [n]; where not, the other columns are 0.
        above, tied: how many other names are more similar to the text than the true one, and equally similar, [n].
        below_share: share of the other names that are less similar, ties counting half, [n].
        matched_share: the same with each other name weighted by how many of the n texts are of it, [n].
    """

    known: np.ndarray
    above: np.ndarray
    tied: np.ndarray
    below_share: np.ndarray
    matched_share: np.ndarray

    def top(self, k: int) -> np.ndarray:
        """Return the probability that the true name is among the first k when ties are ordered at random, [n]."""
        chance: np.ndarray = np.clip((k - self.above) / (self.tied + 1), 0, 1) * self.known
        return chance


class Profiles:
    """The training texts of each user or item as one TF-IDF vector.

    Args:
        names: user or item of each training text, [m]; None if it is not known.
        texts: normalized training texts, [m].
        sublinear: whether a word's weight grows with the logarithm of its count. Frequent reviewers have long profiles,
            which the plain count favours.
    """

    def __init__(self, names: Sequence[str | None], texts: Sequence[str], sublinear: bool = False) -> None:
        by_name: dict[str, list[str]] = {}
        for name, text in zip(names, texts, strict=True):
            if name is not None:
                by_name.setdefault(name, []).append(text)
        self.place = {name: place for place, name in enumerate(sorted(by_name))}
        self._vectorizer = TfidfVectorizer(sublinear_tf=sublinear, token_pattern=r"(?u)\S+", lowercase=False)
        documents = [" ".join(by_name[name]) for name in self.place]
        self._profiles = self._vectorizer.fit_transform(documents).T.tocsr() if documents else None

    def __len__(self) -> int:
        return len(self.place)

    def ranks(self, texts: Sequence[str], names: Sequence[str | None]) -> Ranks:
        """Rank the true name of each text.

        Args:
            texts: normalized texts, [n].
            names: the true names, [n]; None or a name without training texts where it is not known.
        """
        true = np.array([-1 if name is None else self.place.get(name, -1) for name in names], dtype=np.int64)
        if len(self) < 2:  # with one name there is nothing to confuse it with
            true[:] = -1
        queried = np.bincount(true[true >= 0], minlength=len(self)).astype(float)
        found = np.zeros((4, len(texts)))
        rows = np.flatnonzero(true >= 0)
        step = max(1, MAX_CELLS // max(len(self), 1))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            found[:, part] = self._rank([texts[row] for row in part], true[part], queried)
        return Ranks(true >= 0, *found)

    def _rank(self, texts: list[str], true: np.ndarray, queried: np.ndarray) -> np.ndarray:
        """Return above, tied, below_share and matched_share of some texts, [4, texts]."""
        assert self._profiles is not None
        similarity = np.round((self._vectorizer.transform(texts) @ self._profiles).toarray(), DECIMALS)
        own = similarity[np.arange(len(true)), true][:, None]
        above, equal = similarity > own, similarity == own  # the true name is equal to itself
        others = len(self) - 1
        num_above, num_tied = above.sum(1), equal.sum(1) - 1
        below_share = (others - num_above - num_tied / 2) / others
        weight = queried.sum() - queried[true]
        weighted_tied = equal @ queried - queried[true]
        matched = (weight - above @ queried - weighted_tied / 2) / np.maximum(weight, 1)
        # Where all texts are of one name, no other name is weighted: chance.
        matched = np.where(weight > 0, matched, 0.5)
        return np.stack([num_above, num_tied, below_share, matched])
