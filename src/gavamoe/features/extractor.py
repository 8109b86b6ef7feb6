"""Find the feature of a text, such as acting or breakfast, and the opinion that the text gives of it.

A text's feature is the feature word closest to an opinion word in the same sentence; ties go to the higher weight.
Only the known words matter (features, opinion words, negations, ends of sentences). They are located in all texts at
once; everything after that is arithmetic on their positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from gavamoe.errors import DataError
from gavamoe.features.lexicon import CLOSED, NEGATIONS, SENTENCE_ENDS
from gavamoe.features.tokens import END_OF_TEXT, Lookup, Tokens
from gavamoe.words import separate

# Greatest distance, in words, between an opinion word and its feature, and between a negation and its opinion word.
OPINION_DISTANCE, NEGATION_DISTANCE = 5, 3
# Score that an adjacent opinion word adds to a feature; the weight of a feature is 0..1.
OPINION_SCORE = 3.0
# Characters of a feature that is searched for; the search for phrases takes memory in proportion to their length.
LONGEST_PHRASE = 500
SEPARATOR = r"[!-&(-,./:-@\[-`{-~]"  # ASCII punctuation, without the hyphen and the apostrophe of words
# Number of texts processed together: their arrays stay within a processor's cache.
BLOCK = 8_192
ANNOTATION_SCHEMA = {"feature": pl.String(), "opinion": pl.String(), "sentiment": pl.Int8(), "score": pl.Float32()}
# Words that can follow the end of a noun phrase.
CLOSED_WORDS = Lookup(sorted(CLOSED))
S, Y, D, E, L = b"sydel"
STATEMENT_SCHEMA = {"row": pl.Int64(), "feature": pl.String(), "sentiment": pl.Int8()}


@dataclass(frozen=True)
class FeatureExtractor:
    """Find the feature of a text.

    Args:
        features: weight of each feature word or phrase, 0..1; it decides between equally close features.
        opinions: 1 for each word of praise, -1 for each word of complaint.
        learned: whether the features were learned from texts. A learned feature counts only where it ends its noun
            phrase (not "music" in "music video"), and a long review is shortened to its best sentence
            (`sentences.annotate_reviews`).
    """

    features: Mapping[str, float]
    opinions: Mapping[str, int]
    learned: bool = False

    def extract(self, texts: pl.Series) -> pl.Series:
        """Return the feature of each text, null if none is found; [n] strings to [n] strings."""
        return self.annotate(texts)["feature"]

    def annotate(self, texts: pl.Series) -> pl.DataFrame:
        """Find the feature and the opinion of each text.

        Args:
            texts: [n] strings.

        Returns:
            [n] rows of ANNOTATION_SCHEMA: feature (null if none), opinion (null if none is near), sentiment of the
            opinion (1 or -1, negation included) and score (higher for a closer opinion; 0 without a feature).
        """
        texts = self._join_phrases(separate(texts.cast(pl.String).fill_null("")))
        blocks = [self._annotate_block(texts[start : start + BLOCK]) for start in range(0, len(texts), BLOCK)]
        return pl.concat([pl.DataFrame(schema=ANNOTATION_SCHEMA), *blocks])

    def statements(self, texts: pl.Series) -> pl.DataFrame:
        """Find every feature that a text gives an opinion of, with the polarity of that opinion.

        Args:
            texts: [n] strings.

        Returns:
            Distinct rows of STATEMENT_SCHEMA: row (of the text, 0..n-1), feature, and sentiment (1 or -1, negation
            included) of the nearest opinion word of the sentence. A feature without a near opinion word is no
            statement.
        """
        texts = self._join_phrases(separate(texts.cast(pl.String).fill_null("")))
        blocks = [
            self._statements_of_block(texts[start : start + BLOCK]).with_columns(pl.col("row") + start)
            for start in range(0, len(texts), BLOCK)
        ]
        return pl.concat([pl.DataFrame(schema=STATEMENT_SCHEMA), *blocks]).unique(maintain_order=True)

    def to_json(self) -> dict[str, Any]:
        """Return the extractor as a JSON value: features, opinions, learned."""
        return {
            "features": dict(self.features),
            "opinions": dict(sorted(self.opinions.items())),
            "learned": self.learned,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> FeatureExtractor:
        """Rebuild the extractor from the value that `to_json` returned.

        Raises:
            DataError: the value is not an extractor.
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

    def _annotate_block(self, texts: pl.Series) -> pl.DataFrame:
        """Annotate one block of texts."""
        known, found = self._known, self._mentions(texts)
        word = found.word
        best = _best_per_text(found.candidates, found.row, found.score)
        has_opinion, opinion = found.distance[best] <= OPINION_DISTANCE, found.nearest[best]
        sentiment, score, row = found.sentiment(best, known), found.score, found.row
        columns = {
            "feature": known.features.gather(known.feature[word[best]]),
            "opinion": known.words.gather(word[opinion]),
            "sentiment": sentiment,
            "score": score[best],
        }
        table = pl.DataFrame({**columns, "has_opinion": has_opinion})
        table = table.with_columns(pl.when("has_opinion").then(pl.col("opinion", "sentiment"))).drop("has_opinion")
        # Texts without a feature take the extra last row.
        result_row = np.full(len(texts), len(best))
        result_row[row[best]] = np.arange(len(best))
        rows = pl.concat([table, pl.DataFrame({"score": [0.0]})], how="diagonal")[result_row]
        return rows.select(pl.col(name).cast(dtype) for name, dtype in ANNOTATION_SCHEMA.items())

    def _statements_of_block(self, texts: pl.Series) -> pl.DataFrame:
        """Return the statements of one block of texts, rows counted from 0."""
        known, found = self._known, self._mentions(texts)
        chosen = found.candidates[found.distance[found.candidates] <= OPINION_DISTANCE]
        columns = {
            "row": found.row[chosen],
            "feature": known.features.gather(known.feature[found.word[chosen]]),
            "sentiment": found.sentiment(chosen, known),
        }
        return pl.DataFrame(columns).select(pl.col(name).cast(dtype) for name, dtype in STATEMENT_SCHEMA.items())

    def _mentions(self, texts: pl.Series) -> _Mentions:
        """Locate the known words of one block of texts, and the opinion word nearest to each of them."""
        known = self._known
        tokens = Tokens.from_texts(texts, separated=True)
        position, word = known.lookup.locate(tokens.code)
        ends_text = word == known.end_of_text
        row = np.cumsum(ends_text) - ends_text
        sentence = np.cumsum(known.ends[word])
        nearest, distance = _nearest(known.polarity[word] != 0, position, sentence)
        score = known.weight[word] + np.where(
            distance <= OPINION_DISTANCE, OPINION_SCORE / np.maximum(distance, 1), 0.0
        )
        candidates = np.flatnonzero(known.feature[word] >= 0)
        if self.learned:
            candidates = candidates[_ends_phrase(tokens, position[candidates])]
        return _Mentions(position, word, row, sentence, nearest, distance, score, candidates)

    def _join_phrases(self, texts: pl.Series) -> pl.Series:
        """Hyphenate features of several words, so that each of them is one token; the longest one that begins wins.

        Only the texts with such a feature are changed. In these, each word gets a blank of its own on both sides. So
        features that follow each other are found, and none inside a word.
        """
        names = separate(pl.Series(list(self.features), dtype=pl.String))
        phrases = sorted((name for name in names if " " in name and len(name) <= LONGEST_PHRASE), key=len, reverse=True)
        if not phrases:
            return texts
        rows = texts.str.contains_any(phrases, ascii_case_insensitive=True).arg_true()
        apart = _with_own_blanks(pl.Series(phrases)).to_list()
        hyphenated = [f" {phrase.replace(' ', '-')} " for phrase in phrases]
        joined = pl.col("text").str.replace_many(apart, hyphenated, ascii_case_insensitive=True, leftmost=True)
        changed = _with_own_blanks(texts.gather(rows)).to_frame("text").select(joined)["text"]
        return texts.scatter(rows, changed.str.replace_all(" +", " ").str.strip_chars(" "))


def _with_own_blanks(texts: pl.Series) -> pl.Series:
    """Return texts whose words each have a blank of their own on both sides."""
    return " " + texts.str.replace_all(SEPARATOR, " $0 ").str.strip_chars(" ").str.replace_all(" +", "  ") + " "


@dataclass(frozen=True)
class _Mentions:
    """The known words of a block of texts in reading order, [n_known] each.

    Args:
        position: in the block's tokens.
        word: number of the known word.
        row, sentence: the text and the sentence that it is in.
        nearest, distance: index of the nearest opinion word of the sentence, and its distance in tokens.
        score: weight of the feature, more with a close opinion word.
        candidates: indices of the words that are features.
    """

    position: np.ndarray
    word: np.ndarray
    row: np.ndarray
    sentence: np.ndarray
    nearest: np.ndarray
    distance: np.ndarray
    score: np.ndarray
    candidates: np.ndarray

    def sentiment(self, chosen: np.ndarray, known: _KnownWords) -> np.ndarray:
        """Return the polarity of the opinion word nearest to each chosen word, negation included."""
        opinion = self.nearest[chosen]
        negated = _negated(opinion, known.negates[self.word], self.position, self.sentence)
        polarity: np.ndarray = np.where(negated, -1, 1) * known.polarity[self.word[opinion]]
        return polarity


class _KnownWords:
    """The words that annotation looks for, with one array per property, [n_words].

    Attributes:
        features: the names of the features.
        words: every known word.
        lookup: finds the known words among tokens.
        feature: position in `features`, -1 for other words.
        weight: weight of the feature, 0 for other words.
        polarity: 1 or -1 for an opinion word, else 0.
        negates, ends: whether the word is a negation; whether it ends a sentence.
        end_of_text: number of the token that ends each text.
    """

    def __init__(self, features: Mapping[str, float], opinions: Mapping[str, int]) -> None:
        names = separate(pl.Series(list(features), dtype=pl.String)).str.replace_all(" ", "-", literal=True)
        numbers = {name: number for number, name in enumerate(names)}
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


def _ends_phrase(tokens: Tokens, position: np.ndarray) -> np.ndarray:
    """Return whether the nouns at `position` end their noun phrases, bool [n].

    A noun that is the first half of a compound ("music video") does not end its phrase. The next token must be
    punctuation, a word of a closed class, an adverb or a participle (a story told well), or a verb that agrees with the
    noun: "the story works" but not "the story line". Plurals count as ends, since they hardly ever begin a compound.
    """
    following = position + 1  # at most the token that ends the text
    closed = np.zeros(len(position), dtype=bool)
    closed[CLOSED_WORDS.locate(tokens.code[following])[0]] = True
    last, before_last = _last_letters(tokens, following)
    verb_or_adverb = (
        ((last == S) & (before_last != S)) | ((last == Y) & (before_last == L)) | ((last == D) & (before_last == E))
    )
    return closed | verb_or_adverb | (_last_letters(tokens, position)[0] == S)


def _last_letters(tokens: Tokens, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the last byte of each token and the byte before it, in lower case; two [n]."""
    data = np.frombuffer(tokens.data, dtype=np.uint8)
    end = tokens.start[position] + tokens.length[position] - 1
    return data[end] | 32, data[np.maximum(end - 1, 0)] | 32


def _nearest(marked: np.ndarray, position: np.ndarray, sentence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find, for each known word, the nearest other marked word of its sentence; ties go to the one before.

    Returns:
        The index of that word, and its distance in tokens (inf if there is none); two [n_known].
    """
    last = _last_marked(marked)
    before = np.concatenate([[-1], last[:-1]])[: len(marked)]
    after = len(marked) - 1 - np.concatenate([[-1], _last_marked(marked[::-1])[:-1]])[: len(marked)][::-1]
    distances = []
    for other in (before, after):
        inside = (other >= 0) & (other < len(marked))
        other = np.where(inside, other, 0)
        distance = np.abs(position - position[other])
        distances.append(np.where(inside & (sentence[other] == sentence), distance, np.inf))
    closer = distances[0] <= distances[1]
    nearest = np.clip(np.where(closer, before, after), 0, max(len(marked) - 1, 0))
    return nearest, np.where(closer, distances[0], distances[1])


def _last_marked(marked: np.ndarray) -> np.ndarray:
    """Return, for each known word, the index of the last marked word up to and including it, -1 if there is none."""
    return np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1))


def _best_per_text(candidates: np.ndarray, row: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return the candidate with the highest score of each text that has one; ties go to the first."""
    order = candidates[np.lexsort((candidates, -score[candidates], row[candidates]))]
    return order[np.unique(row[order], return_index=True)[1]]


def _negated(opinion: np.ndarray, negates: np.ndarray, position: np.ndarray, sentence: np.ndarray) -> np.ndarray:
    """Return whether one of the three words before each opinion word, in its sentence, is a negation."""
    last = _last_marked(negates)[np.maximum(opinion - 1, 0)]
    near = (last >= 0) & (last < opinion) & (position[opinion] - position[last] <= NEGATION_DISTANCE)
    return near & (sentence[last] == sentence[opinion])
