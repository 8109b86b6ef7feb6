from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare.prepare import PrepareOptions, prepare
from gavamoe.data.simulate import World, simulate
from gavamoe.errors import DataError
from gavamoe.features.extractor import FeatureExtractor
from gavamoe.features.mining import mine_features
from gavamoe.features.sentences import read_texts, split_sentences

EXTRACTOR = FeatureExtractor(
    {"acting": 0.2, "story": 0.1, "front desk": 0.5, "pool": 0.4},
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
        ("The story’s great", "story", "great", 1),
    ],
)
def test_the_feature_is_the_one_an_opinion_is_closest_to(
    text: str, feature: str | None, opinion: str | None, sentiment: int | None
) -> None:
    found = EXTRACTOR.find(pl.Series([text]))
    assert found.row(0)[:3] == (feature, opinion, sentiment)


TEXTS = st.lists(
    st.text() | st.sampled_from(["great acting.", "dull story", "the pool. is great", "front desk"]), max_size=8
)


@given(TEXTS)
def test_a_text_s_feature_does_not_depend_on_the_texts_beside_it(texts: list[str]) -> None:
    together = EXTRACTOR.find(pl.Series(texts, dtype=pl.String))
    alone = [EXTRACTOR.find(pl.Series([text])).row(0) for text in texts]
    assert together.rows() == alone
    assert together.height == len(texts)


def test_extractor_survives_json() -> None:
    assert FeatureExtractor.from_json(EXTRACTOR.to_json()) == EXTRACTOR


def corpus() -> tuple[pl.Series, pl.Series]:
    """Films whose acting and plot are praised or not; "gripping" is no seed and must be learned."""
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


def test_features_and_opinions_are_learned_but_not_names_nor_the_item_itself() -> None:
    extractor = mine_features(*corpus())
    assert extractor is not None
    assert set(extractor.features) == {"acting", "plot"}
    assert extractor.opinions["gripping"] == 1
    assert not {"film", "smith"} & set(extractor.opinions)


def test_the_features_of_a_world_with_few_words_are_learned() -> None:
    world = simulate(World(users=100, items=60, reviews=3000, clusters=3))
    extractor = mine_features(world["text"], world["rating"])
    assert extractor is not None
    assert set(extractor.features) == set(world["feature"])


@given(st.lists(st.text(max_size=40), max_size=10))
def test_learning_from_any_texts_gives_an_extractor_or_none(texts: list[str]) -> None:
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
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(pl.Series([text])).to_list() == [sentences]


def test_a_long_review_gives_way_to_the_sentence_that_names_a_feature_and_an_opinion() -> None:
    filler = "We went there on a Monday and it rained all day long. " * 8
    texts = pl.Series([filler + "The pool was really great. " + filler, "Short. The pool was great.", "word " * 100])
    read = read_texts(texts, replace(EXTRACTOR, learned=True))
    assert read["text"].to_list() == ["The pool was really great.", texts[1], texts[2]]
    assert read["feature"].to_list() == ["pool", "pool", None]
    assert read_texts(texts, EXTRACTOR)["text"].equals(texts)


@pytest.mark.parametrize(
    "damaged", [{}, {"features": {}}, {"features": ["a"], "opinions": {}}, {"features": {"a": "b"}}]
)
def test_a_damaged_extractor_in_a_card_is_one_line(
    write_lines: Callable[..., Path], tmp_path: Path, reviews: list, damaged: dict
) -> None:
    prepare([write_lines("r.jsonl", reviews)], tmp_path / "out", PrepareOptions(features="off"))
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    card["features"]["extractor"] = {"opinions": 3, **damaged}
    (tmp_path / "out" / "card.json").write_text(json.dumps(card))
    with pytest.raises(DataError, match=r"extractor is damaged .*run `gavamoe prepare` again"):
        _ = ReviewDataset.load(tmp_path / "out").catalog


def test_features_of_dropped_reviews_are_none_of_the_dataset(
    write_lines: Callable[..., Path], tmp_path: Path, reviews: list
) -> None:
    rows = [{**row, "feature": "story" if n % 2 else "music"} for n, row in enumerate(reviews)]
    rows += [{"user": "once", "item": "i0", "rating": 3, "text": "the parking was fine", "feature": "parking"}]
    prepare([write_lines("r.jsonl", rows)], tmp_path / "out", PrepareOptions(k_core=5))
    catalog = ReviewDataset.load(tmp_path / "out").catalog
    assert catalog.features == ["music", "story"]


def test_a_feature_column_with_gaps_stays_as_it_is(
    write_lines: Callable[..., Path], tmp_path: Path, reviews: list
) -> None:
    given = [{**row, "feature": None if n % 3 else " Music ", "sentiment": "-1.0"} for n, row in enumerate(reviews)]
    card = prepare([write_lines("r.jsonl", given)], tmp_path / "out")
    rows = ReviewDataset.load(tmp_path / "out").interactions()
    assert rows["feature"].to_list() == [None if n % 3 else "music" for n in range(len(reviews))]
    assert rows["sentiment"].to_list() == [-1] * len(reviews)
    assert (card["features"]["method"], card["counts"]["with_feature"]) == ("column", 40)


def test_feature_modes(write_lines: Callable[..., Path], tmp_path: Path, reviews: list) -> None:
    given_feature = [{**row, "feature": "Music"} for row in reviews]
    plain, with_column = write_lines("r.jsonl", reviews), write_lines("f.jsonl", given_feature)
    assert prepare([plain], tmp_path / "a", PrepareOptions(features="off"))["counts"]["with_feature"] == 0
    assert prepare([plain], tmp_path / "b")["features"]["method"] == "learned"
    assert ReviewDataset.load(tmp_path / "b").catalog.features == ["ending", "music", "story"]
    assert prepare([with_column], tmp_path / "c")["features"]["method"] == "column"
    assert ReviewDataset.load(tmp_path / "c").interactions()["feature"].unique().to_list() == ["music"]
    with pytest.raises(DataError, match="--features column needs a column"):
        prepare([plain], tmp_path / "d", PrepareOptions(features="column"))
