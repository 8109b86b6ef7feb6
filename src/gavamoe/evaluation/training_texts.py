"""`TrainingTexts`: what people wrote in training, as the metrics that know the right user and item read it.

TrainingTexts --items, users--> Profiles            identifiability
              --item_statements--> {item: {feature: polarities}}   statement precision and recall
              --bigrams--> ItemBigrams              genericness

Each part is computed when a metric first reads it. Texts are normalized alike everywhere, whatever the option of the
command: lower case, punctuation apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

from gavamoe.data.dataset import HAS_TEXT
from gavamoe.evaluation.profiles import Profiles
from gavamoe.features.extractor import FeatureExtractor
from gavamoe.words import join_words, normalize_text

MAX_TEXTS = 200_000  # more training texts, evenly spaced ones are read
GENERIC_SHARE, GENERIC_ITEMS = 0.01, 2  # a bigram is generic if this share of the items, and so many, have it

Statement = tuple[str, int]  # feature, and the polarity of the opinion of it: 1 or -1
# Normalization parts "isn't" into three words; negations are looked up in one.
_APOSTROPHE = re.compile(r"(?<=\w) (['’]) (?=\w)")


def plain_text(words: Sequence[str]) -> str:
    """Return words, split in whatever way, as a normalized text with single blanks."""
    return normalize_text(join_words(words))


def name_of(value: object) -> str | None:
    """Return the name of a user or item as it is compared: a composed string; None for nobody."""
    return None if value is None or value == "" else unicodedata.normalize("NFC", str(value))


def has_statements(extractor: FeatureExtractor | None) -> bool:
    """Return whether an extractor can find statements: it knows features."""
    return extractor is not None and bool(extractor.features)


def find_statements(extractor: FeatureExtractor | None, texts: Sequence[str]) -> list[set[Statement]]:
    """Return the statements of normalized texts, [n] sets; empty sets without features."""
    found: list[set[Statement]] = [set() for _ in texts]
    if extractor is not None and extractor.features:
        joined = [_APOSTROPHE.sub(r"\1", text) for text in texts]
        table = extractor.statements(pl.Series(joined, dtype=pl.String))
        for row, feature, polarity in table.iter_rows():
            found[row].add((feature, polarity))
    return found


@dataclass(frozen=True, eq=False)
class TrainingTexts:
    """Training texts with their users and items.

    Args:
        users, items: names, [m]; None where unknown.
        texts: normalized texts, [m].
        extractor: finds statements; None if the data has no features.
        total: number of training texts that these were chosen from.
    """

    users: Sequence[str | None]
    items: Sequence[str | None]
    texts: Sequence[str]
    extractor: FeatureExtractor | None = None
    total: int = 0

    @classmethod
    def from_reviews(cls, reviews: pl.DataFrame, extractor: FeatureExtractor | None = None) -> TrainingTexts | None:
        """Read training reviews with user, item and text; None if none has a text.

        Args:
            reviews: raw or prepared training reviews. Of more than MAX_TEXTS with a text, every k-th is read.
            extractor: that of the dataset.
        """
        if "text" not in reviews.columns:
            return None
        found = reviews.select("user", "item", "text").filter(HAS_TEXT)
        if found.is_empty():
            return None
        rows = found.gather_every(max(1, -(-len(found) // MAX_TEXTS)))
        users, items = ([name_of(name) for name in rows[column].to_list()] for column in ("user", "item"))
        texts = [normalize_text(text) for text in rows["text"].to_list()]
        return cls(users, items, texts, extractor, len(found))

    def describe(self) -> str:
        """Return how many training texts are read, as conditions state it."""
        every = "" if len(self.texts) == self.total else f" of {self.total:,}, evenly spaced"
        return f"{len(self.texts):,}{every}"

    @property
    def has_statements(self) -> bool:
        """Whether statements can be found: the data has features."""
        return has_statements(self.extractor)

    @cached_property
    def item_profiles(self) -> Profiles:
        """A profile of each item."""
        return Profiles(self.items, self.texts)

    @cached_property
    def user_profiles(self) -> Profiles:
        """A profile of each user."""
        return Profiles(self.users, self.texts, sublinear=True)

    @cached_property
    def item_statements(self) -> dict[str, dict[str, set[int]]]:
        """The polarities that training texts of each item state of each feature."""
        found: dict[str, dict[str, set[int]]] = {name: {} for name in self.items if name is not None}
        for item, statements in zip(self.items, self.statements(self.texts), strict=True):
            if item is not None:
                for feature, polarity in statements:
                    found[item].setdefault(feature, set()).add(polarity)
        return found

    def statements(self, texts: Sequence[str]) -> list[set[Statement]]:
        """Return the statements of normalized texts, [n] sets; empty sets without features."""
        return find_statements(self.extractor, texts)

    @cached_property
    def item_bigrams(self) -> ItemBigrams:
        """Which items have each word bigram in their training texts."""
        return ItemBigrams(self.items, self.texts)


class ItemBigrams:
    """Which items have each word bigram in their training texts.

    Args:
        items: item of each training text, [m]; texts of no known item are left out.
        texts: normalized training texts, [m].
    """

    def __init__(self, items: Sequence[str | None], texts: Sequence[str]) -> None:
        names = sorted({item for item in items if item is not None})
        self.place = {name: place for place, name in enumerate(names)}
        known = [(self.place[item], text) for item, text in zip(items, texts, strict=True) if item is not None]
        self._vectorizer = CountVectorizer(ngram_range=(2, 2), token_pattern=r"(?u)\S+", lowercase=False)
        try:
            counts = self._vectorizer.fit_transform([text for _, text in known])
        except ValueError:  # no text has two words
            self._has = None
            return
        rows = np.array([place for place, _ in known])
        of_item = sparse.csr_array((np.ones(len(known)), (rows, np.arange(len(known)))), (len(names), len(known)))
        self._has = sparse.csr_array(of_item @ sparse.csr_array(counts) > 0).astype(float)

    def generic(self, texts: Sequence[str], items: Sequence[str | None]) -> tuple[np.ndarray, np.ndarray]:
        """Count the bigrams of each text that enough other items share.

        Args:
            texts: normalized texts, [n].
            items: the item of each text, whose own training texts do not count, [n].

        Returns:
            Generic bigrams and all bigrams of each text, [n] each.
        """
        total = np.array([max(len(text.split()) - 1, 0) for text in texts], dtype=float)
        if self._has is None:
            return np.zeros(len(texts)), total
        needed = max(GENERIC_ITEMS, int(np.ceil(GENERIC_SHARE * len(self.place))))
        items_with = np.asarray(self._has.sum(axis=0)).ravel()
        counts = sparse.csr_array(self._vectorizer.transform(texts)).astype(float)
        generic = counts @ (items_with >= needed).astype(float)
        # A bigram that just enough items have is not generic for a text about one of them.
        place = np.array([-1 if item is None else self.place.get(item, -1) for item in items], dtype=np.int64)
        known = np.flatnonzero(place >= 0)
        own = counts[known].multiply(self._has[place[known]]) @ (items_with == needed).astype(float)
        generic[known] -= own
        return generic, total
