"""Shorten long reviews to the sentence that explains best: the one that names a feature and gives an opinion of it."""

from __future__ import annotations

import polars as pl

from gavamoe.features.cleaning import count_words
from gavamoe.features.extractor import ANNOTATION_SCHEMA, FeatureExtractor
from gavamoe.words import CHARACTER, UNSPACED, rows_with

# A review with more words is too long to be an explanation and is shortened to one of its sentences.
MAX_REVIEW_WORDS = 60
# A shorter sentence says too little; a longer one is usually several sentences without punctuation.
MIN_SENTENCE_WORDS, MAX_SENTENCE_WORDS = 5, 40
# Punctuation, then a capital, a letter of a script without capitals, a quote or a number; or punctuation between
# spaces, as in texts already tokenised.
SENTENCE_END = r"([.!?…][.!?…\"')\]]*)\s+([\p{Lu}\p{Lo}\p{N}\"'(])"
TOKENISED_END = r"\s([.!?]+)\s"
# Marks that end a sentence with or without a space after them: those of Chinese and Japanese, Arabic and Urdu,
# Devanagari, Armenian and Ethiopic. And . ! ? … between characters of scripts without blanks.
FULL_STOPS = "。．｡！？؟۔।॥։።⸮"
CLOSING = "\"'”’」』》）)\\]"
WIDE_END = rf"([{FULL_STOPS}][{FULL_STOPS}!?…{CLOSING}]*)\s*([^\s{CLOSING}])"
NARROW_END = rf"({CHARACTER}[.!?…]+[{CLOSING}]*)([{UNSPACED}])"
ABBREVIATION = r"\b(Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|No|Prof)\.\n"

ANNOTATIONS = ("feature", "opinion", "sentiment")
ANNOTATED_SCHEMA = {
    "text": pl.String(),
    "words": pl.UInt32(),
    **{name: ANNOTATION_SCHEMA[name] for name in ANNOTATIONS},
}


def annotate_reviews(texts: pl.Series, extractor: FeatureExtractor, words: pl.Series | None = None) -> pl.DataFrame:
    """Find the feature of each review, and shorten long reviews; used by both preparation and evaluation.

    With learned features, a review of more than 60 words is replaced by its sentence of 5 to 40 words with the highest
    feature score. Ties, also between sentences without a feature, go to the first. A long review without a sentence of
    this length is left unchanged.

    Args:
        texts: [n] cleaned texts.
        extractor: finds the features.
        words: number of words of each text; None to count them.

    Returns:
        [n] rows of ANNOTATED_SCHEMA: the text, its number of words, its feature, opinion and sentiment.
    """
    words = count_words(texts) if words is None else words
    annotated = extractor.annotate(texts).with_columns(texts.alias("text"), words.alias("words"))
    annotated = annotated.select(list(ANNOTATED_SCHEMA))
    long = (words > MAX_REVIEW_WORDS).arg_true()
    if not extractor.learned or long.is_empty():
        return annotated
    sentences = pl.DataFrame({"row": long, "text": split_sentences(texts.gather(long))}).explode("text")
    sentences = sentences.with_columns(pl.col("text").str.strip_chars())
    sentences = sentences.hstack([count_words(sentences["text"]), *extractor.annotate(sentences["text"])])
    sentences = sentences.filter(pl.col("words").is_between(MIN_SENTENCE_WORDS, MAX_SENTENCE_WORDS))
    best = sentences.group_by("row").agg(pl.all().sort_by("score", descending=True, maintain_order=True).first())
    return pl.DataFrame([annotated[name].scatter(best["row"], best[name]) for name in ANNOTATED_SCHEMA])


def split_sentences(texts: pl.Series) -> pl.Series:
    """Split each text into its sentences; [n] strings to [n] lists of strings."""
    marked = texts.str.replace_all(SENTENCE_END, "$1\n$2").str.replace_all(TOKENISED_END, " $1\n")
    rows = rows_with(texts, rf"[{FULL_STOPS}{UNSPACED}]")
    if len(rows):
        wide = marked.gather(rows)
        for _ in range(2):  # a sentence of one character is the end of one match and the start of the next
            wide = wide.str.replace_all(WIDE_END, "$1\n$2").str.replace_all(NARROW_END, "$1\n$2")
        marked = marked.scatter(rows, wide)
    return marked.str.replace_all(ABBREVIATION, "$1. ").str.split("\n")
