"""`Outputs`: a system's predictions beside the ground truth, one row per (user, item) pair. Every metric reads it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gavamoe.errors import DataError
from gavamoe.evaluation.training_texts import TrainingTexts, plain_text
from gavamoe.words import choose_splitter, has_unspaced

Words = list[str]
Ratings = Sequence[float | None] | np.ndarray


@dataclass(frozen=True)
class Outputs:
    """Predictions and ground truth of n pairs; `None` for a column that is not known.

    Args:
        predictions, references: texts, split into words, [n].
        features: the feature (aspect) that each reference mentions, [n]; None in a row without one.
        feature_set: all features of the dataset.
        predicted, true: ratings on the source's scale, [n]; None or NaN in a row without one.
        scale: lowest and highest rating; predictions outside it are clipped. None: predictions are not clipped.
        has_reference: whether each row has a reference text, [n]; None when all rows have one. A row without one counts
            only for the rating metrics.
        item_features: for each row, the features that training reviews of its item mention, [n].
        distribution: predicted probability of each rating level, [n, R].
        level: the true rating level of each row, 1..R, [n]; it goes with `distribution`.
        users, items: the names of each row's user and item, [n]; None in a row without one.
        training: what people wrote in training, of the same names.

    Raises:
        DataError: there are no rows, or the columns have different lengths.
    """

    predictions: Sequence[Words]
    references: Sequence[Words]
    features: Sequence[str | None] | None = None
    feature_set: Collection[str] = frozenset()
    predicted: Ratings | None = None
    true: Ratings | None = None
    scale: tuple[float, float] | None = None
    has_reference: Sequence[bool] | np.ndarray | None = None
    item_features: Sequence[Collection[str]] | None = None
    distribution: np.ndarray | None = None
    level: np.ndarray | None = None
    users: Sequence[str | None] | None = None
    items: Sequence[str | None] | None = None
    training: TrainingTexts | None = None

    def __post_init__(self) -> None:
        names = (self.users, self.items)
        texts = (self.references, self.features, self.has_reference, self.item_features)
        ratings = (self.predicted, self.true, self.distribution, self.level)
        lengths = {len(self.predictions), *(len(column) for column in (*texts, *names, *ratings) if column is not None)}
        if lengths == {0} or len(lengths) > 1:
            raise DataError(f"scoring needs as many rows in every column, and at least one; found {sorted(lengths)}")

    @classmethod
    def from_texts(
        cls,
        predictions: Sequence[str],
        references: Sequence[str],
        features: Sequence[str | None] | None = None,
        feature_set: Collection[str] | None = None,
    ) -> Outputs:
        """Build outputs without ratings from texts, which are split as `choose_splitter` says and not normalized."""
        split, _ = choose_splitter([*predictions, *references])
        return cls(
            [split(text) for text in predictions],
            [split(text) for text in references],
            [feature and " ".join(split(feature)) for feature in features] if features else None,
            {" ".join(split(feature)) for feature in feature_set or ()},
        )

    def concatenate(self, other: Outputs) -> Outputs:
        """Return the rows of this system, then those of another system on the same pairs.

        A column that either system lacks is left out.

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
            _joined(self.has_reference, other.has_reference),
            _joined(self.item_features, other.item_features),
            users=_joined(self.users, other.users),
            items=_joined(self.items, other.items),
            training=self.training,
        )

    def __len__(self) -> int:
        return len(self.predictions)

    @cached_property
    def has_unspaced(self) -> bool:
        """Whether texts have letters of a script without blanks, where each character is a word.

        The references decide, where there are any: a system that writes a stray letter does not change the metrics.
        """
        texts = self.references if any(self.references) else self.predictions
        return any(has_unspaced(word) for words in texts for word in words)

    @cached_property
    def known_features(self) -> dict[tuple[str, ...], str]:
        """The features by their words, in sorted order; blank features are left out."""
        return {tuple(feature.split()): feature for feature in sorted(set(self.feature_set)) if feature.strip()}

    @cached_property
    def named_features(self) -> list[set[str]]:
        """The features that each prediction mentions, [n]; the words of a feature must be adjacent and in order."""
        known = self.known_features
        sizes = sorted({len(words) for words in known})
        return [
            {known[gram] for size in sizes for gram in ngrams(words, size) if gram in known}
            for words in self.predictions
        ]

    @cached_property
    def plain_predictions(self) -> list[str]:
        """The predictions normalized, whatever way they are scored otherwise, [n]."""
        return [plain_text(words) for words in self.predictions]

    @cached_property
    def plain_references(self) -> list[str]:
        """The references normalized, whatever way they are scored otherwise, [n]."""
        return [plain_text(words) for words in self.references]


def ngrams(words: Sequence[str], n: int) -> zip[tuple[str, ...]]:
    """Iterate over the n-grams of a text, in order."""
    return zip(*(words[start:] for start in range(n)), strict=False)


def _joined(first: Sequence[Any] | np.ndarray | None, second: Sequence[Any] | np.ndarray | None) -> list[Any] | None:
    return None if first is None or second is None else [*first, *second]
