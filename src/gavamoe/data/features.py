"""Features: the aspect of an item that a text speaks of, such as acting or breakfast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl


@dataclass(frozen=True)
class FeatureExtractor:
    """Finds the feature a text speaks of.

    Args:
        features: the feature words, lower case.
    """

    features: tuple[str, ...]

    def extract(self, texts: pl.Series) -> pl.Series:
        """Return the first feature word of each text, null where there is none; [n] strings to [n] strings."""
        # Spaces around text and patterns make the match one of whole words.
        spaced = " " + texts.fill_null("").str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}'-]+", " ") + " "
        patterns = [f" {feature} " for feature in self.features]
        return (
            spaced.to_frame("text")
            .select(pl.col("text").str.extract_many(patterns).list.first().str.strip_chars())["text"]
            .alias("feature")
        )

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` needs."""
        return {"features": list(self.features)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> FeatureExtractor:
        """Rebuild the extractor from what `to_json` gave."""
        return cls(tuple(value["features"]))
