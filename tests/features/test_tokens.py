"""Tokens as codes: the tokens are those of a regular expression, and different words have different codes."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.features.cleaning import clean_texts, count_words
from gavamoe.features.tokens import END_OF_TEXT, PRONOUNS, Lookup, Tokens, codes_of
from gavamoe.words import has_unspaced, separate

PIECES = [
    "the",
    "film's",
    "well-acted",
    "acting",
    "it's",
    " ",
    "'",
    "-",
    ".",
    ",",
    "(",
    "é",
    "Ünder",
    "’s",
    "—",
    "中文",
    "3",
]
TEXTS = st.lists(st.text(max_size=12) | st.lists(st.sampled_from(PIECES)).map("".join), max_size=6)
WORD = r"[\p{L}\p{M}]+(?:['-][\p{L}\p{M}]+)*|[.!?;:,()]"


def words_of(texts: list[str]) -> list[str]:
    tokens = Tokens.from_texts(pl.Series(texts, dtype=pl.String))
    return [tokens.text(position) for position in range(len(tokens.code))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("很好看，wifi快。", ["很", "好", "看", ",", "wifi", "快", "."]),
        ("बहुत अच्छा। الطعام؟", ["बहुत", "अच्छा", ".", "الطعام", "?"]),
        ("می\u200cخواهم cafe\u0301", ["میخواهم", "café"]),
        ("The film's plot.", ["the", "film", "s", "plot", "."]),
        ("It's a well-acted one", ["it", "is", "a", "well-acted", "one"]),
        ("isn’t 'no' rock-'n-roll-", ["isn't", "no", "rock", "n-roll"]),
        ("Émile—café, 3 stars", ["émile", "café", ",", "stars"]),
        ("incomprehensibilities and uncharacteristically", ["incomprehensibilities", "and", "uncharacteristically"]),
    ],
)
def test_texts_are_split_into_words_and_punctuation(text: str, words: list[str]) -> None:
    assert words_of([text]) == [*words, END_OF_TEXT]


@given(TEXTS)
def test_tokens_equal_the_matches_of_a_regular_expression(texts: list[str]) -> None:
    plain = separate(pl.Series(texts, dtype=pl.String)).str.replace_all("’", "'", literal=True)
    plain = plain.str.replace_all("([\\p{L}\\p{M}])[\u200c\u200d]+", "$1").str.to_lowercase()
    for _ in range(2):  # overlapping matches need a second pass
        plain = plain.str.replace_all(r"'s([^\p{L}\p{M}]|$)", " s$1")
    found = plain.str.extract_all(WORD).to_list()
    expected = [word for words in found for word in [*words, END_OF_TEXT]]
    verbs = [word == "s" and expected[position - 1] in PRONOUNS for position, word in enumerate(expected)]
    assert words_of(texts) == ["is" if verb else word for word, verb in zip(expected, verbs, strict=True)]


@given(st.lists(st.text("abcdefghijklmnopqrstuvwxyzé", min_size=1, max_size=24), unique=True))
def test_words_up_to_24_bytes_have_different_codes_and_are_located_by_them(words: list[str]) -> None:
    words = [word for word in words if len(word.encode()) <= 24]
    codes = codes_of(words)
    assert len(set(codes.tolist())) == len(words)
    known = words[::2]
    positions, numbers = Lookup(known).locate(codes)
    assert [(words[position], known[number]) for position, number in zip(positions, numbers, strict=True)] == [
        (word, word) for word in known
    ]


@given(st.lists(st.text(max_size=30), max_size=5))
def test_count_words_counts_the_parts_between_spaces(texts: list[str]) -> None:
    cleaned = clean_texts(pl.Series([text for text in texts if not has_unspaced(text)], dtype=pl.String))
    assert count_words(cleaned).to_list() == [len(text.split(" ")) if text else 0 for text in cleaned]
    assert not cleaned.str.contains(r"[\x00-\x1f\x7f]|  |^ | $").any()
