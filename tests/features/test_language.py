"""The language of a corpus, by script and short words: enough to say why no English feature is mined."""

from __future__ import annotations

import pytest

from gavamoe.features.language import detect_language


@pytest.mark.parametrize(
    ("text", "code", "has_english"),
    [
        ("the food was great and the service is slow", "en", True),
        ("Das Zimmer war sehr sauber und das Frühstück gut", "de", False),
        ("Le service est très bon et nous avons bien mangé", "fr", False),
        ("la comida es muy buena pero el servicio no", "es", False),
        ("剧情一般，推荐给大家。", "zh", False),
        ("料理がとても美味しい", "ja", False),
        ("좋아요 다시 올게요", "ko", False),
        ("الطعام لذيذ والخدمة جيدة", "ar", False),
        ("غذا خیلی خوب بود و پرسنل مهربان", "fa", False),
        ("Очень вкусно", "ru", False),
        ("great food", None, True),  # may be English: mining is tried
        ("4/5 :)", None, True),
    ],
)
def test_language_is_told_by_script_and_short_words(text, code, has_english):
    found = detect_language([text] * 3)
    assert (found.code, found.has_english) == (code, has_english)


def test_english_reviews_among_others_are_still_mined():
    german, english = "das Essen ist nicht gut und sehr teuer", "the food is good and the staff are very friendly"
    assert str(detect_language([german] * 6 + [english] * 4)) == "German (de)"
    assert detect_language([german] * 6 + [english] * 4).has_english
    assert not detect_language([german] * 100 + [english]).has_english
