"""The options of `gavamoe prepare`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gavamoe.data.readers.open import ReadOptions
from gavamoe.data.scale import RatingScale
from gavamoe.errors import DataError

SPLIT_METHODS = ("random", "temporal", "column")
FEATURE_MODES = ("auto", "column", "off")


@dataclass(frozen=True)
class PrepareOptions:
    """How to prepare a dataset.

    Args:
        read: how to read the sources.
        items: files of item metadata; if none is given, sidecar metadata beside the reviews is used.
        split: random, temporal or column (as the source gives it).
        seed: seed of the random split.
        scale: the rating scale; None for that of the format, or else inferred from the ratings.
        features: off, column (as the source gives them), or auto (the column if there is one, else learned from the
            texts).
        k_core: minimum number of reviews of every user and item; 0 for no filter.
        min_words: minimum number of words of a review, before a long one is shortened to a sentence; 0 for no filter.
        language: ISO 639-1 code of the language of every text; None for no filter.
        skip_bad: how many unusable lines may be dropped.
        item_columns: source columns of the files of item metadata, by column of ITEM_SCHEMA.
    """

    read: ReadOptions = field(default_factory=ReadOptions)
    items: tuple[Path, ...] = ()
    split: str = "random"
    seed: int = 0
    scale: RatingScale | None = None
    features: str = "auto"
    k_core: int = 0
    min_words: int = 0
    language: str | None = None
    skip_bad: int = 0
    item_columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.split not in SPLIT_METHODS:
            raise DataError(f"split '{self.split}' is unknown: expected {', '.join(SPLIT_METHODS)}")
        if self.features not in FEATURE_MODES:
            raise DataError(f"features '{self.features}' is unknown: expected {', '.join(FEATURE_MODES)}")
