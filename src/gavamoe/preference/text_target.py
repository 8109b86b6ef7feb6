"""What stage 1 reconstructs of a review's text: its words, or the feature it speaks of and whether it praises it.

    review --units--> word ids [T], padded with 0

A unit is an entry of the vocabulary: a word, or `feature +`, `feature -`, `feature`. The vocabulary is built from
training reviews only.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from gavamoe.data.dataset import InteractionArrays
from gavamoe.errors import ConfigError
from gavamoe.files import reading, write_json
from gavamoe.words import normalized_words, separate

TextKind = Literal["features", "words"]
FILE = "vocabulary.json"
MAX_UNITS = 2_000  # largest vocabulary; the rarest units are left out
MIN_REVIEWS = 5  # a unit in fewer training reviews says too little
MAX_SHARE = 0.1  # a word in more than this share of the training reviews is a function word
UNITS_PER_REVIEW = 64  # distinct units that are kept of one review, in the order of the text
COLUMNS: dict[TextKind, list[str]] = {"words": ["text"], "features": ["feature", "sentiment"]}
POLARITY = {1: " +", -1: " -"}


@dataclass(frozen=True)
class TextTarget:
    """The vocabulary of what stage 1 reconstructs of a text.

    Args:
        kind: `words` or `features`.
        units: the vocabulary; the id of a unit is its place, counted from 1.
    """

    kind: TextKind
    units: tuple[str, ...]

    @classmethod
    def fit(cls, kind: TextKind, train: pl.DataFrame) -> TextTarget:
        """Return the target for training reviews.

        Args:
            kind: `words` or `features`.
            train: training reviews with text, or with feature and sentiment, [n].

        Raises:
            ConfigError: no two units occur in `MIN_REVIEWS` training reviews.
        """
        counts = Counter(unit for units in _units(kind, train) for unit in units)
        most = MAX_SHARE * len(train) if kind == "words" else len(train)
        kept = [(-count, unit) for unit, count in counts.items() if MIN_REVIEWS <= count <= max(most, MIN_REVIEWS)]
        if len(kept) < 2:
            raise ConfigError(
                f"preference.reconstructs=ratings+{kind}: fewer than two {kind} occur in {MIN_REVIEWS} training "
                f"reviews or more; use preference.reconstructs=ratings"
            )
        return cls(kind, tuple(unit for _, unit in sorted(kept)[:MAX_UNITS]))

    @property
    def columns(self) -> list[str]:
        """The columns of reviews that `encode` reads."""
        return COLUMNS[self.kind]

    def encode(self, reviews: pl.DataFrame) -> np.ndarray:
        """Return the ids of each review's distinct units, int16 [n, T]; 0 pads the rows.

        Args:
            reviews: reviews with text, or with feature and sentiment, [n].
        """
        ids = {unit: number for number, unit in enumerate(self.units, start=1)}
        rows = [[ids[unit] for unit in units if unit in ids][:UNITS_PER_REVIEW] for units in _units(self.kind, reviews)]
        encoded_NT = np.zeros((len(rows), max(map(len, rows), default=0) or 1), np.int16)
        for row, found in zip(encoded_NT, rows, strict=True):
            row[: len(found)] = found
        return encoded_NT

    def with_units(self, arrays: InteractionArrays, reviews: pl.DataFrame) -> InteractionArrays:
        """Return interactions together with the units of their reviews, in the same order."""
        return replace(arrays, units=self.encode(reviews))

    def save(self, directory: Path) -> None:
        """Write vocabulary.json."""
        write_json(directory / FILE, {"kind": self.kind, "units": self.units})

    @classmethod
    def load(cls, directory: Path) -> TextTarget | None:
        """Read what `save` wrote; None without the file.

        Raises:
            RunError: the file is damaged.
        """
        if not (directory / FILE).is_file():
            return None
        with reading(directory / FILE):
            saved = json.loads((directory / FILE).read_text(encoding="utf-8"))
            return cls(saved["kind"], tuple(map(str, saved["units"])))


def _units(kind: TextKind, reviews: pl.DataFrame) -> Iterator[Sequence[str]]:
    """Yield the distinct units of each review, in the order of its text."""
    if kind == "words":
        for text in separate(reviews["text"].fill_null("")).to_list():
            words = normalized_words(text)
            yield list(dict.fromkeys(word for word in words if any(letter.isalpha() for letter in word)))
    else:
        for feature, sentiment in reviews.select(COLUMNS[kind]).iter_rows():
            yield [] if feature is None else [feature + POLARITY.get(sentiment, "")]
