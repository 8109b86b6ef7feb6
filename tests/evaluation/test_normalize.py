"""What texts become before metrics compare them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gavamoe.evaluation.normalize import normalize, truncate

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Great room, bad pool!", "great room , bad pool !"),
        ("It's 2.5 stars (of 1,000)", "it ' s 2.5 stars ( of 1,000 )"),
        ("well-made...", "well - made . . ."),
        ("  Zimmer\tund\nFrühstück  ", "zimmer und frühstück"),
        ("snake_case", "snake _ case"),
        ("", ""),
    ],
)
def test_text_is_lowercased_and_punctuation_stands_alone(text: str, words: str) -> None:
    assert normalize(text) == words


@given(st.text())
def test_normalizing_twice_changes_nothing(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


@given(st.text())
def test_normalizing_loses_nothing_but_case_and_white_space(text: str) -> None:
    assert "".join(normalize(text).split()) == "".join(text.lower().lower().split())


@given(st.text(), st.integers(0, 10))
def test_a_cut_text_is_the_start_of_the_text(text: str, words: int) -> None:
    assert truncate(text, words).split() == text.split()[:words]
