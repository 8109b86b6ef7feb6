"""Sentences end where each script ends them, and long reviews give way to one of them."""

from __future__ import annotations

import polars as pl
import pytest

from gavamoe.data import sentences as data_sentences
from gavamoe.features.extractor import FeatureExtractor
from gavamoe.features.sentences import annotate_reviews, split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["很好看。", "推荐！"],
        ["他说：“不错！”", "我同意。", "好!", "推荐...", "真的"],
        ["真的吗？！", "好……", "不过还行。"],
        ["部屋は「広い。」", "また来る｡", "はい"],
        ["طعام لذيذ.", "الخدمة بطيئة؟", "نعم"],
        ["کھانا اچھا تھا۔", "شکریہ"],
        ["बहुत अच्छा।", "फिर आऊँगा॥", "हाँ."],
        ["좋아요.", "다시 올게요."],
        ["It is fine.", "Not for Mr. Bean!", "I waited…", "It ended."],
        ["Sehr gut.", "Übrigens z.B. das Essen."],
    ],
    ids=lambda sentences: sentences[0],
)
def test_a_text_is_split_where_its_script_ends_sentences(sentences):
    spaced = any(letter.isspace() for letter in "".join(sentences)) or "ا" in "".join(sentences)
    text = (" " if spaced or sentences[0].isascii() else "").join(sentences)
    assert split_sentences(pl.Series([text])).to_list() == [sentences]


def test_data_has_the_sentences_under_its_name_too():
    assert data_sentences.split_sentences is split_sentences


def test_a_long_chinese_review_gives_way_to_its_first_sentence_of_usual_length():
    long = "好。" + "剧情很好看，演员也不错。" + "还有很多别的话要说" * 9 + "。"
    extractor = FeatureExtractor({}, {}, learned=True)
    annotated = annotate_reviews(pl.Series([long, "短评。", "a short one"]), extractor)
    assert annotated["text"].to_list() == ["剧情很好看，演员也不错。", "短评。", "a short one"]
    assert annotated["words"].to_list() == [10, 2, 3]
    assert annotated["feature"].null_count() == 3


def test_features_of_a_chinese_column_are_found_in_chinese_texts():
    extractor = FeatureExtractor({"剧情": 0.5, "音乐": 0.2, "front desk": 0.9}, {"great": 1})
    texts = pl.Series(["我觉得剧情很好。", "音乐还行", "the front desk is great", "别的"])
    assert extractor.extract(texts).to_list() == ["剧情", "音乐", "front desk", None]
