"""The sentence of a long review that explains best: it names a feature and gives an opinion of it."""

from __future__ import annotations

import polars as pl

from gavamoe.data.features import FOUND_SCHEMA, FeatureExtractor

# A review of more words than this is no explanation; one of its sentences is.
LONG_REVIEW = 60
# A sentence outside these lengths says too little, or is several sentences without their marks.
FEWEST_WORDS, MOST_WORDS = 5, 40
WORDS = r"\S+"
# A mark, then a capital, a quote or a number; or a mark between spaces, as in texts that were split into words before.
SENTENCE_END = r"([.!?][.!?\"')\]]*)\s+([\p{Lu}\p{N}\"'(])"
SPLIT_MARK = r"\s([.!?]+)\s"
ABBREVIATION = r"\b(Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|No|Prof)\.\n"


SAID = {"text": pl.String(), **{name: FOUND_SCHEMA[name] for name in ("feature", "opinion", "sentiment")}}


def read_texts(texts: pl.Series, extractor: FeatureExtractor) -> pl.DataFrame:
    """Read reviews the one way that preparing and evaluating share; [n] strings to [n] rows of SAID.

    `text` is the review, or where the extractor shortens its best sentence; the rest is what that text says.
    """
    chosen = choose_sentences(texts, extractor) if extractor.shortens else texts
    return extractor.find(chosen).with_columns(chosen.alias("text")).select(list(SAID))


def split_sentences(texts: pl.Series) -> pl.Series:
    """Split each text into its sentences; [n] strings to [n] lists of strings."""
    marked = texts.str.replace_all(SENTENCE_END, "$1\n$2").str.replace_all(SPLIT_MARK, " $1\n")
    return marked.str.replace_all(ABBREVIATION, "$1. ").str.split("\n")


def choose_sentences(texts: pl.Series, extractor: FeatureExtractor) -> pl.Series:
    """Put the sentence that explains best in the place of each review of more than 60 words; [n] to [n].

    The best sentence has the highest feature score of those of 5 to 40 words; of equals, and where none names a
    feature, the first. A long review without such a sentence stays as it is.
    """
    long = (texts.str.count_matches(WORDS) > LONG_REVIEW).arg_true()
    if long.is_empty():
        return texts
    rows = pl.DataFrame({"row": long, "sentence": split_sentences(texts.gather(long))}).explode("sentence")
    words = rows["sentence"].str.count_matches(WORDS)
    rows = rows.filter(words.is_between(FEWEST_WORDS, MOST_WORDS))
    scored = rows.with_columns(extractor.find(rows["sentence"])["score"], order=pl.int_range(pl.len()))
    best = scored.sort("row", -pl.col("score"), "order").unique("row", keep="first", maintain_order=True)
    return texts.scatter(best["row"], best["sentence"].str.strip_chars())
