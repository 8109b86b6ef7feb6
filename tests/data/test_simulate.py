"""Simulated worlds: the style of groups changes the words of their texts and nothing else."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gavamoe.data.simulate import World, simulate
from gavamoe.data.simulated_phrases import LANGUAGES
from gavamoe.data.simulated_styles import STYLES, draw_wordings
from gavamoe.errors import ConfigError

SMALL = {"users": 30, "items": 20, "reviews": 300}


def plain_sentences(language: str) -> set[str]:
    """Every sentence that a world without style can write."""
    phrases = LANGUAGES[language]
    return {
        phrases.sentence.format(opening=opening, link=link.format(feature=feature, opinion=opinion))
        for openings in phrases.openings.values()
        for opening in openings
        for link in (*phrases.reasons, *phrases.concessions)
        for feature, praises, complaints in phrases.aspects
        for opinion in (*praises, *complaints)
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_style_texts_are_plain_sentences(language):
    texts = simulate(World(**SMALL, language=language))["text"]
    assert set(texts) <= plain_sentences(language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_style_changes_the_texts_and_nothing_else(language):
    plain = simulate(World(**SMALL, language=language))
    styled = simulate(World(**SMALL, language=language, style=1.0))
    assert styled.drop("text").equals(plain.drop("text"))
    assert set(styled["text"]).isdisjoint(plain_sentences(language))
    assert all(feature in text for feature, text in styled.select("feature", "text").iter_rows())


@given(st.floats(0, 1), st.integers(0, 20))
@settings(max_examples=20)
def test_the_share_of_styled_reviews_follows_the_strength(strength, seed):
    wordings = list(draw_wordings(np.arange(2000) % 4, strength, seed, "en"))
    for part in ("opener", "sentence", "closer"):
        assert np.mean([bool(getattr(wording, part)) for wording in wordings]) == pytest.approx(strength, abs=0.06)


def test_sixteen_groups_write_in_different_ways():
    sets = {}
    for group in range(16):
        wordings = draw_wordings(np.full(50, group), 1.0, 0, "en")
        sets[group] = frozenset((w.opener, w.intensifier, w.closer) for w in wordings)
    assert len(set(sets.values())) == 16


def test_groups_differ_in_the_length_of_their_texts():
    styled = simulate(World(**SMALL, style=1.0))
    words = styled.group_by("cluster").agg(pl.col("text").str.split(" ").list.len().mean())["text"]
    assert words.max() > 1.5 * words.min()


@pytest.mark.parametrize("style", [-0.1, 1.1, float("nan")])
def test_a_strength_outside_of_0_to_1_is_refused(style):
    with pytest.raises(ConfigError, match="style must be between 0 and 1"):
        World(style=style)


def test_every_language_has_styles():
    assert STYLES.keys() == LANGUAGES.keys()
