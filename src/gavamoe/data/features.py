"""Features: the aspect of an item that a text speaks of, such as acting or breakfast, and what it says of it.

A text's feature is the feature word closest to an opinion word in the same sentence; among equals the one with the
higher weight. All texts are searched at once, as arrays over their words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from gavamoe.data.ids import ids_of
from gavamoe.data.words import NEGATIONS, SENTENCE_ENDS, tokenise

# An opinion further from its feature than this many words speaks of something else.
REACH = 5
# What an opinion beside the feature adds to its score, against a weight of 0..1.
OPINION_SCORE = 3.0
FOUND_SCHEMA = {"feature": pl.String(), "opinion": pl.String(), "sentiment": pl.Int8(), "score": pl.Float32()}


@dataclass(frozen=True)
class FeatureExtractor:
    """Finds the feature that a text speaks of.

    Args:
        features: weight of each feature word or phrase, 0..1; decides between equals.
        opinions: 1 for each word of praise, -1 for each of complaint.
        shortens: whether a long review stands for the sentence of it that explains best (`sentences.read_texts`).
    """

    features: Mapping[str, float]
    opinions: Mapping[str, int]
    shortens: bool = False

    def extract(self, texts: pl.Series) -> pl.Series:
        """Return the feature of each text, null where none is found; [n] strings to [n] strings."""
        return self.find(texts)["feature"]

    def find(self, texts: pl.Series) -> pl.DataFrame:
        """Find what each text says.

        Args:
            texts: [n] strings.

        Returns:
            [n] rows: feature (null where none), opinion (null where none is near), sentiment of the opinion (1, -1,
            negation counted) and score (higher where an opinion stands close; 0 without a feature).
        """
        tokens = tokenise(self._join_phrases(texts))
        names = pl.Series(list(self.features), dtype=pl.String)
        feature = ids_of(tokens["word"], names.str.replace_all(" ", "-", literal=True)).to_numpy()
        opinion = ids_of(tokens["word"], pl.Series(list(self.opinions), dtype=pl.String)).to_numpy()
        segment = segments(tokens)
        nearest, distance = _nearest(opinion > 0, segment)
        weight = np.array([0.0, *self.features.values()])[feature]
        score = weight + np.where(distance <= REACH, OPINION_SCORE / np.maximum(distance, 1), 0.0)
        best = _best_of_each_text(np.flatnonzero(feature), tokens["row"].to_numpy(), score)
        said, spoken = pl.Series(distance[best] <= REACH), nearest[best]
        polarity = np.array([0, *self.opinions.values()])[opinion] * _negation(tokens["word"], segment)
        found = pl.DataFrame({"row": tokens["row"].gather(best), "score": score[best]}).with_columns(
            feature=names.gather(feature[best] - 1),
            opinion=pl.when(said).then(tokens["word"].gather(spoken)),
            sentiment=pl.when(said).then(pl.Series(polarity[spoken])),
        )
        rows = pl.DataFrame({"row": pl.int_range(len(texts), dtype=pl.UInt32, eager=True)})
        joined = rows.join(found, on="row", how="left", maintain_order="left").with_columns(
            pl.col("score").fill_null(0.0)
        )
        return joined.select(pl.col(name).cast(dtype) for name, dtype in FOUND_SCHEMA.items())

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` needs."""
        return {"features": dict(self.features), "opinions": dict(self.opinions), "shortens": self.shortens}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> FeatureExtractor:
        """Rebuild the extractor from what `to_json` gave."""
        return cls(value["features"], value["opinions"], value.get("shortens", False))

    def _join_phrases(self, texts: pl.Series) -> pl.Series:
        """Hyphenate features of several words, so that each is one word to look up."""
        phrases = [feature for feature in self.features if " " in feature]
        if not phrases:
            return texts
        hyphenated = [phrase.replace(" ", "-") for phrase in phrases]
        joined = pl.col("text").str.replace_many(phrases, hyphenated, ascii_case_insensitive=True, leftmost=True)
        return texts.to_frame("text").select(joined)["text"]


def segments(tokens: pl.DataFrame) -> np.ndarray:
    """Number the sentences: a new one starts with each text and after each mark that ends a sentence; int [n_words]."""
    row = tokens["row"].to_numpy()
    starts = np.ones(len(row), dtype=bool)
    ends = tokens["word"].is_in(list(SENTENCE_ENDS)).to_numpy()
    starts[1:] = (row[1:] != row[:-1]) | ends[:-1]
    return np.cumsum(starts)


def _nearest(marked: np.ndarray, segment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find, for each word, the nearest other marked word of its sentence: its place, and the distance (inf if none)."""
    place = np.arange(len(marked))
    last = np.maximum.accumulate(np.where(marked, place, -1))
    before = np.concatenate([[-1], last[:-1]])[: len(marked)]
    coming = np.minimum.accumulate(np.where(marked, place, len(marked))[::-1])[::-1]
    after = np.concatenate([coming[1:], [len(marked)]])[: len(marked)]
    distances = []
    for other in (before, after):
        inside = (other >= 0) & (other < len(marked))
        same = inside & (segment[np.where(inside, other, 0)] == segment)
        distances.append(np.where(same, np.abs(place - other), np.inf))
    closer = distances[0] <= distances[1]
    nearest = np.clip(np.where(closer, before, after), 0, max(len(marked) - 1, 0))
    return nearest, np.where(closer, distances[0], distances[1])


def _best_of_each_text(candidates: np.ndarray, row: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return the place of the best candidate of each text that has one; the first among equals."""
    order = candidates[np.lexsort((candidates, -score[candidates], row[candidates]))]
    return order[np.unique(row[order], return_index=True)[1]]


def _negation(words: pl.Series, segment: np.ndarray) -> np.ndarray:
    """Return -1 for words that one of the three words before them, in their sentence, negates, else 1; [n_words]."""
    negates = words.is_in(list(NEGATIONS)).to_numpy()
    sign = np.ones(len(negates), dtype=np.int8)
    for back in (1, 2, 3):
        sign[back:][negates[:-back] & (segment[:-back] == segment[back:])] = -1
    return sign
