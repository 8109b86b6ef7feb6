"""A system's outputs beside the truth: what every metric reads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gavamoe.errors import DataError

Words = list[str]
Ratings = Sequence[float | None] | np.ndarray


@dataclass(frozen=True)
class Outputs:
    """One row per (user, item) pair; `None` for a column that is not known.

    Args:
        predictions, references: texts, split into words.
        features: the feature each reference speaks of; None in a row without one.
        feature_set: all features there are.
        predicted, true: ratings on the scale of the source, [n]; None or NaN in a row without one.
        scale: lowest and highest rating; predictions beyond it are clipped. None: they are taken as they are.
        described: whether each row has a reference text, [n]; None when all have. A row without one counts for ratings
            only: no text is right or wrong there.
        item_features: for each row, the features that training reviews of its item mention.
    """

    predictions: Sequence[Words]
    references: Sequence[Words]
    features: Sequence[str | None] | None = None
    feature_set: Collection[str] = frozenset()
    predicted: Ratings | None = None
    true: Ratings | None = None
    scale: tuple[float, float] | None = None
    described: Sequence[bool] | np.ndarray | None = None
    item_features: Sequence[Collection[str]] | None = None

    def __post_init__(self) -> None:
        columns = (self.references, self.features, self.predicted, self.true, self.described, self.item_features)
        lengths = {len(self.predictions), *(len(column) for column in columns if column is not None)}
        if lengths == {0} or len(lengths) > 1:
            raise DataError(f"scoring needs as many rows in every column, and at least one; found {sorted(lengths)}")

    @classmethod
    def of_texts(
        cls,
        predictions: Sequence[str],
        references: Sequence[str],
        features: Sequence[str | None] | None = None,
        feature_set: Collection[str] | None = None,
    ) -> Outputs:
        """Outputs without ratings; texts are split on white space as they are given."""
        return cls(
            [text.split() for text in predictions], [text.split() for text in references], features, feature_set or ()
        )

    def followed_by(self, other: Outputs) -> Outputs:
        """The rows of two systems on the same pairs, one after the other; a column that either lacks is left out.

        Raises:
            DataError: the systems have different numbers of rows.
        """
        if len(self) != len(other):
            raise DataError(f"systems are compared on the same rows; found {len(self)} and {len(other)}")

        return Outputs(
            [*self.predictions, *other.predictions],
            [*self.references, *other.references],
            _joined(self.features, other.features),
            self.feature_set,
            _joined(self.predicted, other.predicted),
            _joined(self.true, other.true),
            self.scale,
            _joined(self.described, other.described),
            _joined(self.item_features, other.item_features),
        )

    def __len__(self) -> int:
        return len(self.predictions)

    @cached_property
    def known_features(self) -> dict[tuple[str, ...], str]:
        """The features by their words, in a fixed order; one that is blank names nothing."""
        return {tuple(feature.split()): feature for feature in sorted(set(self.feature_set)) if feature.strip()}

    @cached_property
    def named_features(self) -> list[set[str]]:
        """The features each prediction names: one of several words is named where they stand in a row."""
        known = self.known_features
        sizes = sorted({len(words) for words in known})
        return [
            {known[gram] for size in sizes for gram in windows(words, size) if gram in known}
            for words in self.predictions
        ]


def windows(words: Sequence[str], size: int) -> zip[tuple[str, ...]]:
    """The n-grams of `size` words, in order."""
    return zip(*(words[start:] for start in range(size)), strict=False)


def _joined(first: Sequence[Any] | np.ndarray | None, second: Sequence[Any] | np.ndarray | None) -> list[Any] | None:
    return None if first is None or second is None else [*first, *second]
