"""Features are found in texts, learned from a corpus, and shorten long reviews."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.data.simulate import World, simulate
from gavamoe.features.extractor import FeatureExtractor
from gavamoe.features.mining import mine_features
from gavamoe.features.sentences import annotate_reviews, split_sentences

EXTRACTOR = FeatureExtractor(
    {"acting": 0.2, "story": 0.1, "front desk": 0.5, "pool": 0.4, "front desk manager": 0.3},
    {"great": 1, "good": 1, "dull": -1, "friendly": 1},
)


@pytest.mark.parametrize(
    ("text", "feature", "opinion", "sentiment"),
    [
        ("The acting is great.", "acting", "great", 1),
        ("A story with great acting.", "acting", "great", 1),
        ("Dull story, and acting.", "story", "dull", -1),
        ("The story is not good.", "story", "good", -1),
        ("The story. Great!", "story", None, None),
        ("Friendly Front Desk staff", "front desk", "friendly", 1),
        ("A pool and a story", "pool", None, None),
        ("nothing here", None, None, None),
        ("", None, None, None),
        ("storyteller", None, None, None),
        ("a front desktop, and great acting", "acting", "great", 1),
        ("great affront desk, dull story", "story", "dull", -1),
        ("the front desk , front desk friendly", "front desk", "friendly", 1),
        ("the friendly front desk manager", "front desk manager", "friendly", 1),
        ("The story’s great", "story", "great", 1),
    ],
)
def test_feature_is_the_one_closest_to_an_opinion(
    text: str, feature: str | None, opinion: str | None, sentiment: int | None
) -> None:
    found = EXTRACTOR.annotate(pl.Series([text]))
    assert found.row(0)[:3] == (feature, opinion, sentiment)


TEXTS = st.lists(
    st.text() | st.sampled_from(["great acting.", "dull story", "the pool. is great", "front desk"]), max_size=8
)


@given(TEXTS)
def test_annotation_does_not_depend_on_the_other_texts_of_the_batch(texts: list[str]) -> None:
    together = EXTRACTOR.annotate(pl.Series(texts, dtype=pl.String))
    alone = [EXTRACTOR.annotate(pl.Series([text])).row(0) for text in texts]
    assert together.rows() == alone
    assert together.height == len(texts)


def test_extractor_survives_json() -> None:
    assert FeatureExtractor.from_json(EXTRACTOR.to_json()) == EXTRACTOR


def corpus() -> tuple[pl.Series, pl.Series]:
    """Films whose acting and plot are praised or not; "gripping" is no seed word and must be learned."""
    good = [
        "The acting is gripping.",
        "This film has a very gripping plot.",
        "The plot is great.",
        "Great acting, very gripping.",
    ]
    bad = [
        "The acting is dull.",
        "This film has a dull plot.",
        "The plot is so dull, Smith is dull.",
        "A Smith film. Dull acting.",
    ]
    texts = [*good, *bad] * 12
    return pl.Series(texts), pl.Series(([5.0] * 4 + [1.0] * 4) * 12)


def test_mining_learns_features_and_opinions_but_no_names_and_not_the_item_itself() -> None:
    extractor = mine_features(*corpus())
    assert extractor is not None
    assert set(extractor.features) == {"acting", "plot"}
    assert extractor.opinions["gripping"] == 1
    assert not {"film", "smith"} & set(extractor.opinions)


def test_mining_learns_all_features_of_a_simulated_world() -> None:
    world = simulate(World(users=100, items=60, reviews=3000, clusters=3))
    extractor = mine_features(world["text"], world["rating"])
    assert extractor is not None
    assert set(extractor.features) == set(world["feature"])


@given(st.lists(st.text(max_size=40), max_size=10))
def test_mining_any_texts_returns_an_extractor_or_none(texts: list[str]) -> None:
    found = mine_features(pl.Series(texts, dtype=pl.String), pl.Series([3.0] * len(texts), dtype=pl.Float32))
    assert found is None or found.features


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It was good. We left!", ["It was good.", "We left!"]),
        ("Dr. No is a film. Mr. Bond is in it.", ["Dr. No is a film.", "Mr. Bond is in it."]),
        ("the room was small . the view was great .", ["the room was small .", "the view was great ."]),
        ('He said "no." Then 3.5 stars', ['He said "no."', "Then 3.5 stars"]),
        ("no mark at all", ["no mark at all"]),
    ],
)
def test_texts_are_split_into_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(pl.Series([text])).to_list() == [sentences]


def test_long_review_is_shortened_to_the_sentence_with_a_feature_and_an_opinion() -> None:
    filler = "We went there on a Monday and it rained all day long. " * 8
    texts = pl.Series([filler + "The pool was really great. " + filler, "Short. The pool was great.", "word " * 100])
    read = annotate_reviews(texts, replace(EXTRACTOR, learned=True))
    assert read["text"].to_list() == ["The pool was really great.", texts[1], texts[2]]
    assert read["feature"].to_list() == ["pool", "pool", None]
    assert annotate_reviews(texts, EXTRACTOR)["text"].equals(texts)
