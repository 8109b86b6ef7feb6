"""Features enter a dataset from a column of the source, or are learned from its texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.errors import DataError


@pytest.mark.parametrize(
    "damaged", [{}, {"features": {}}, {"features": ["a"], "opinions": {}}, {"features": {"a": "b"}}]
)
def test_damaged_extractor_in_a_card_is_a_data_error(
    write_lines: Callable[..., Path], tmp_path: Path, reviews: list, damaged: dict
) -> None:
    prepare([write_lines("r.jsonl", reviews)], tmp_path / "out", PrepareOptions(features="off"))
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    card["features"]["extractor"] = {"opinions": 3, **damaged}
    (tmp_path / "out" / "card.json").write_text(json.dumps(card))
    (tmp_path / "out" / "manifest.json").unlink()  # which would name the changed file
    with pytest.raises(DataError, match=r"extractor is damaged .*run `gavamoe prepare` again"):
        _ = ReviewDataset.load(tmp_path / "out").catalog


def test_features_of_dropped_reviews_are_not_in_the_catalog(
    write_lines: Callable[..., Path], tmp_path: Path, reviews: list
) -> None:
    rows = [{**row, "feature": "story" if n % 2 else "music"} for n, row in enumerate(reviews)]
    rows += [{"user": "once", "item": "i0", "rating": 3, "text": "the parking was fine", "feature": "parking"}]
    prepare([write_lines("r.jsonl", rows)], tmp_path / "out", PrepareOptions(k_core=5))
    catalog = ReviewDataset.load(tmp_path / "out").catalog
    assert catalog.features == ["music", "story"]


def test_feature_column_with_missing_values_is_kept(
    write_lines: Callable[..., Path], tmp_path: Path, reviews: list
) -> None:
    given = [{**row, "feature": None if n % 3 else " Music ", "sentiment": "-1.0"} for n, row in enumerate(reviews)]
    card = prepare([write_lines("r.jsonl", given)], tmp_path / "out")
    rows = ReviewDataset.load(tmp_path / "out").interactions()
    assert rows["feature"].to_list() == [None if n % 3 else "music" for n in range(len(reviews))]
    assert rows["sentiment"].to_list() == [-1] * len(reviews)
    assert (card["features"]["method"], card["counts"]["with_feature"]) == ("column", 40)


def test_feature_modes_off_auto_and_column(write_lines: Callable[..., Path], tmp_path: Path, reviews: list) -> None:
    given_feature = [{**row, "feature": "Music"} for row in reviews]
    plain, with_column = write_lines("r.jsonl", reviews), write_lines("f.jsonl", given_feature)
    assert prepare([plain], tmp_path / "a", PrepareOptions(features="off"))["counts"]["with_feature"] == 0
    assert prepare([plain], tmp_path / "b")["features"]["method"] == "learned"
    assert ReviewDataset.load(tmp_path / "b").catalog.features == ["ending", "music", "story"]
    assert prepare([with_column], tmp_path / "c")["features"]["method"] == "column"
    assert ReviewDataset.load(tmp_path / "c").interactions()["feature"].unique().to_list() == ["music"]
    with pytest.raises(DataError, match="--features column needs a column"):
        prepare([plain], tmp_path / "d", PrepareOptions(features="column"))
