"""Features: the aspect of an item that a text speaks of, such as acting or breakfast, and what it says of it.

A text's feature is the feature word closest to an opinion word in the same sentence; among equals the one with the
higher weight. Only the few words that matter (features, opinions, negations, ends of sentences) are looked at: they are
found in all texts at once, and everything after that is arithmetic on their places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from gavamoe.errors import DataError
from gavamoe.features.lexicon import NEGATIONS, SENTENCE_ENDS
from gavamoe.features.phrases import ends_its_phrase
from gavamoe.features.tokens import END_OF_TEXT, Lookup, Tokens

# An opinion further from its feature than this many words speaks of something else; a negation, from its opinion.
REACH, NEGATION_REACH = 5, 3
# What an opinion beside the feature adds to its score, against a weight of 0..1.
OPINION_SCORE = 3.0
# Texts searched at a time: their arrays stay within a processor's cache.
BLOCK = 8_192
FOUND_SCHEMA = {"feature": pl.String(), "opinion": pl.String(), "sentiment": pl.Int8(), "score": pl.Float32()}


@dataclass(frozen=True)
class FeatureExtractor:
    """Finds the feature that a text speaks of.

    Args:
        features: weight of each feature word or phrase, 0..1; decides between equals.
        opinions: 1 for each word of praise, -1 for each of complaint.
        learned: whether the features were learned from texts. Then a feature counts only where it ends its phrase (not
            "music" in "music video"), and of a long review only its best sentence (`sentences.read_texts`).
    """

    features: Mapping[str, float]
    opinions: Mapping[str, int]
    learned: bool = False

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
        texts = self._join_phrases(texts)
        blocks = [self._find(texts[start : start + BLOCK]) for start in range(0, len(texts), BLOCK)]
        return pl.concat([pl.DataFrame(schema=FOUND_SCHEMA), *blocks])

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` needs."""
        return {"features": dict(self.features), "opinions": dict(self.opinions), "learned": self.learned}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> FeatureExtractor:
        """Rebuild the extractor from what `to_json` gave.

        Raises:
            DataError: the value is something else.
        """
        try:
            features = {str(name): float(weight) for name, weight in value["features"].items()}
            opinions = {str(word): int(sign) for word, sign in value["opinions"].items()}
            return cls(features, opinions, bool(value.get("learned", False)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"the features' extractor is damaged ({error!r}): run `gavamoe prepare` again") from error

    @cached_property
    def _known(self) -> _KnownWords:
        return _KnownWords(self.features, self.opinions)

    def _find(self, texts: pl.Series) -> pl.DataFrame:
        """Find what a block of texts says; all arrays are over the known words in it, [n_marks], in reading order."""
        known = self._known
        tokens = Tokens.from_texts(texts)
        place, word = known.lookup.find(tokens.code)
        ends_text = word == known.end_of_text
        row = np.cumsum(ends_text) - ends_text
        segment = np.cumsum(known.ends[word])
        nearest, distance = _nearest(known.polarity[word] != 0, place, segment)
        score = known.weight[word] + np.where(distance <= REACH, OPINION_SCORE / np.maximum(distance, 1), 0.0)
        candidates = np.flatnonzero(known.feature[word] >= 0)
        if self.learned:
            candidates = candidates[ends_its_phrase(tokens, place[candidates])]
        best = _best_of_each_text(candidates, row, score)
        said, spoken = distance[best] <= REACH, nearest[best]
        negated = _negated(spoken, known.negates[word], place, segment)
        sentiment = np.where(negated, -1, 1) * known.polarity[word[spoken]]
        columns = {
            "feature": known.features.gather(known.feature[word[best]]),
            "opinion": known.words.gather(word[spoken]),
            "sentiment": sentiment,
            "score": score[best],
        }
        found = pl.DataFrame({**columns, "said": said})
        found = found.with_columns(pl.when("said").then(pl.col("opinion", "sentiment"))).drop("said")
        at = np.full(len(texts), len(best))
        at[row[best]] = np.arange(len(best))
        nothing = pl.DataFrame({"score": [0.0]})
        rows = pl.concat([found, nothing], how="diagonal")[at]
        return rows.select(pl.col(name).cast(dtype) for name, dtype in FOUND_SCHEMA.items())

    def _join_phrases(self, texts: pl.Series) -> pl.Series:
        """Hyphenate features of several words, so that each is one word to look up."""
        phrases = [feature for feature in self.features if " " in feature]
        if not phrases:
            return texts
        hyphenated = [phrase.replace(" ", "-") for phrase in phrases]
        joined = pl.col("text").str.replace_many(phrases, hyphenated, ascii_case_insensitive=True, leftmost=True)
        return texts.to_frame("text").select(joined)["text"]


class _KnownWords:
    """The words that finding looks for, and arrays that say of each what it is.

    Attributes:
        features: the names of the features.
        words: every known word.
        feature: place in `features`, -1 for other words.
        weight: the feature's, 0 for other words.
        polarity: 1 or -1 for an opinion, else 0.
        negates, ends: whether it is a negation, whether it ends a sentence.
        end_of_text: the number of the mark that ends each text.
    """

    def __init__(self, features: Mapping[str, float], opinions: Mapping[str, int]) -> None:
        numbers = {name.replace(" ", "-"): number for number, name in enumerate(features)}
        words = list(dict.fromkeys([*numbers, *opinions, *sorted(NEGATIONS), *sorted(SENTENCE_ENDS)]))
        weights = [*features.values(), 0.0]
        self.features = pl.Series(list(features), dtype=pl.String)
        self.words = pl.Series(words, dtype=pl.String)
        self.lookup = Lookup(words)
        self.feature = np.array([numbers.get(word, -1) for word in words])
        self.weight = np.array([weights[number] for number in self.feature])
        self.polarity = np.array([opinions.get(word, 0) for word in words], dtype=np.int8)
        self.negates = np.array([word in NEGATIONS for word in words])
        self.ends = np.array([word in SENTENCE_ENDS for word in words])
        self.end_of_text = words.index(END_OF_TEXT)


def _nearest(marked: np.ndarray, place: np.ndarray, segment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find, for each word, the nearest other marked word of its sentence: its number, and the distance (inf if none).

    Of two at the same distance it is the one before.
    """
    last = _last(marked)
    before = np.concatenate([[-1], last[:-1]])[: len(marked)]
    after = len(marked) - 1 - np.concatenate([[-1], _last(marked[::-1])[:-1]])[: len(marked)][::-1]
    distances = []
    for other in (before, after):
        inside = (other >= 0) & (other < len(marked))
        other = np.where(inside, other, 0)
        distances.append(np.where(inside & (segment[other] == segment), np.abs(place - place[other]), np.inf))
    closer = distances[0] <= distances[1]
    nearest = np.clip(np.where(closer, before, after), 0, max(len(marked) - 1, 0))
    return nearest, np.where(closer, distances[0], distances[1])


def _last(marked: np.ndarray) -> np.ndarray:
    """Return, for each word, the number of the last marked one up to it, -1 where there is none."""
    return np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1))


def _best_of_each_text(candidates: np.ndarray, row: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return the number of the best candidate of each text that has one; the first among equals."""
    order = candidates[np.lexsort((candidates, -score[candidates], row[candidates]))]
    return order[np.unique(row[order], return_index=True)[1]]


def _negated(opinion: np.ndarray, negates: np.ndarray, place: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """Whether one of the three words before each opinion, in its sentence, negates it."""
    last = _last(negates)[np.maximum(opinion - 1, 0)]
    near = (last >= 0) & (last < opinion) & (place[opinion] - place[last] <= NEGATION_REACH)
    return near & (segment[last] == segment[opinion])
