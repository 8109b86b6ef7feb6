"""The sentence of a long review that explains best: it names a feature and gives an opinion of it."""

from __future__ import annotations

import polars as pl

from gavamoe.features.cleaning import count_words
from gavamoe.features.extractor import FOUND_SCHEMA, FeatureExtractor

# A review of more words than this is no explanation; one of its sentences is.
LONG_REVIEW = 60
# A sentence outside these lengths says too little, or is several sentences without their marks.
FEWEST_WORDS, MOST_WORDS = 5, 40
# A mark, then a capital, a quote or a number; or a mark between spaces, as in texts that were split into words before.
SENTENCE_END = r"([.!?][.!?\"')\]]*)\s+([\p{Lu}\p{N}\"'(])"
SPLIT_MARK = r"\s([.!?]+)\s"
ABBREVIATION = r"\b(Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|No|Prof)\.\n"

FOUND = ("feature", "opinion", "sentiment")
SAID = {"text": pl.String(), "words": pl.UInt32(), **{name: FOUND_SCHEMA[name] for name in FOUND}}


def read_texts(texts: pl.Series, extractor: FeatureExtractor, words: pl.Series | None = None) -> pl.DataFrame:
    """Read reviews the one way that preparing and evaluating share.

    The text of a long review, where the features were learned, becomes its best sentence: the one with the highest
    feature score of those of 5 to 40 words; of equals, and where none names a feature, the first. A long review without
    such a sentence stays as it is.

    Args:
        texts: [n] cleaned texts.
        extractor: finds the features.
        words: how many words each has; None to count them.

    Returns:
        [n] rows of SAID: the text, its number of words, and what it says.
    """
    words = count_words(texts) if words is None else words
    said = extractor.find(texts).with_columns(texts.alias("text"), words.alias("words")).select(list(SAID))
    long = (words > LONG_REVIEW).arg_true()
    if not extractor.learned or long.is_empty():
        return said
    sentences = pl.DataFrame({"row": long, "text": split_sentences(texts.gather(long))}).explode("text")
    sentences = sentences.with_columns(pl.col("text").str.strip_chars())
    sentences = sentences.hstack([count_words(sentences["text"]), *extractor.find(sentences["text"])])
    sentences = sentences.filter(pl.col("words").is_between(FEWEST_WORDS, MOST_WORDS))
    best = sentences.group_by("row").agg(pl.all().sort_by("score", descending=True, maintain_order=True).first())
    return pl.DataFrame([said[name].scatter(best["row"], best[name]) for name in SAID])


def split_sentences(texts: pl.Series) -> pl.Series:
    """Split each text into its sentences; [n] strings to [n] lists of strings."""
    marked = texts.str.replace_all(SENTENCE_END, "$1\n$2").str.replace_all(SPLIT_MARK, " $1\n")
    return marked.str.replace_all(ABBREVIATION, "$1. ").str.split("\n")
