"""Words in any language: characters where a script has no blanks, letters with their marks, composed forms."""

from __future__ import annotations

import re
import time
import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.features.cleaning import clean_texts, count_words
from gavamoe.words import (
    choose_splitter,
    first_words,
    has_unspaced,
    hash_text,
    join_words,
    normalized_words,
    separate,
    settled_length,
    split_words,
)

# Text | words as given | words normalized | number of words (--min-words), by | between words.
TABLE = [
    ("It's 2.5 stars.", "It's|2.5|stars.", "it|'|s|2.5|stars|.", 3),
    ("很好看。推荐！", "很|好|看|。|推|荐|！", "很|好|看|。|推|荐|！", 5),
    ("wifi快，服务 OK!", "wifi|快|，|服|务|OK!", "wifi|快|，|服|务|ok|!", 5),
    ("料理がとても", "料|理|が|と|て|も", "料|理|が|と|て|も", 6),
    ("スーパー", "ス|ー|パ|ー", "ス|ー|パ|ー", 4),
    ("ที่นี่ดี", "ที่|นี่|ดี", "ที่|นี่|ดี", 3),
    ("ខ្មែរ", "ខ្មែ|រ", "ខ្មែ|រ", 2),
    ("बहुत अच्छा।", "बहुत|अच्छा।", "बहुत|अच्छा|।", 2),
    ("العَرَبِيَّة جميلة؟", "العَرَبِيَّة|جميلة؟", "العَرَبِيَّة|جميلة|؟", 2),
    ("می\u200cخواهم", "می\u200cخواهم", "می\u200cخواهم", 1),
    ("Schöne Größe", "Schöne|Größe", "schöne|größe", 2),
    ("아주 좋아요!", "아주|좋아요!", "아주|좋아요|!", 2),
    ("👩\u200d🍳 👍🏽 ❤️", "👩\u200d🍳|👍🏽|❤️", "👩\u200d🍳|👍🏽|❤️", 3),
]


@pytest.mark.parametrize(("text", "given_words", "normalized", "count"), TABLE, ids=[row[0] for row in TABLE])
def test_each_script_has_words_of_its_own(text, given_words, normalized, count):
    assert split_words(text) == given_words.split("|")
    assert normalized_words(text) == normalized.split("|")
    assert count_words(pl.Series([text])).to_list() == [count]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("text", ["Café Zoë", "아주 좋아요", "がぎぐ", "Việt đồng"])
def test_composed_and_decomposed_letters_are_the_same_words(text, form):
    written = unicodedata.normalize(form, text)
    assert split_words(written) == split_words(text)
    assert normalized_words(written) == normalized_words(text)
    cleaned = clean_texts(pl.Series([written]))
    assert cleaned.to_list() == [text]
    assert separate(pl.Series([written])).to_list() == separate(pl.Series([text])).to_list()


@given(st.text())
def test_normalizing_words_again_changes_nothing(text):
    words = normalized_words(text)
    assert normalized_words(" ".join(words)) == words
    assert split_words(" ".join(split_words(text))) == split_words(text)


@given(st.text(st.characters(max_codepoint=0x24F)))
def test_latin_texts_have_the_words_of_the_field(text):
    lowered = unicodedata.normalize("NFC", text).lower().lower()
    if not any(unicodedata.category(letter).startswith("M") for letter in lowered):
        assert normalized_words(text) == re.findall(r"\d+(?:[.,]\d+)*|[^\W\d_]+|\S", lowered)
    assert split_words(text) == unicodedata.normalize("NFC", text).split()


@given(st.text(), st.integers(0, 9))
def test_first_words_are_the_start_of_the_text(text, count):
    plain = " ".join(text.split())
    assert plain.startswith(first_words(text, count))
    if not has_unspaced(text):
        assert first_words(text, count).split() == text.split()[:count]


def test_a_quotation_without_blanks_is_shortened_too():
    assert first_words("好" * 60, 40) == "好" * 40


@given(st.lists(st.sampled_from(["很", "好", "。", "ok", " ", "ที่", "e\u0301", "!", "か"]), max_size=12))
def test_what_is_settled_never_changes_when_a_text_grows(pieces):
    text = " ".join("".join(pieces).split())
    sent = ""
    for length in range(len(text) + 1):
        written = " ".join(text[:length].split())
        settled = written[: settled_length(written)]
        assert settled == "" or text.startswith(settled)
        sent = max(sent, settled, key=len)
    if len(text) > 4 and all(has_unspaced(letter) for letter in text):
        assert len(sent) >= len(text) - 3


@pytest.mark.parametrize(
    ("texts", "splits_characters", "condition"),
    [
        (["a fine film"], True, "as given, split on white space"),
        (["早餐非常好吃", "ok"], True, "each character is a word"),
        (["剧情 很 好看 。", "演员 不错 值得 一看"], False, "the texts have blanks between words"),
        (["很好看 推荐"], True, "each character is a word"),  # a blank in place of a comma
    ],
)
def test_scoring_as_given_says_what_a_word_is(texts, splits_characters, condition):
    split, said = choose_splitter(texts)
    assert condition in said
    assert (split("很好") == ["很", "好"]) == splits_characters


def test_words_are_joined_as_the_language_writes_them():
    assert join_words(["很", "好", "。", "wifi", "快"]) == "很好。 wifi 快"
    assert join_words(["a", "fine", "film"]) == "a fine film"


def test_counting_words_of_english_texts_takes_microseconds():
    texts = pl.Series(["It’s a fine film with a heart , and the acting is superb ."] * 100_000)
    began = time.process_time()
    count_words(texts)
    assert time.process_time() - began < 2  # 0.05 s on an idle core


def test_the_hash_of_a_text_is_the_same_everywhere_and_exists_for_a_lone_surrogate():
    assert hash_text("good soup") == 3235277680
    assert hash_text("\ud83d") != hash_text("\ud83e")
