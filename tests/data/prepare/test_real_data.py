"""Preparation of real public files."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare


def test_gift_cards_are_prepared_without_options_and_titles_are_joined(
    real_data: Callable[[str], Path], tmp_path: Path
) -> None:
    card = prepare([real_data("gift-cards/Gift_Cards_5.json.gz")], tmp_path / "out")
    items = ReviewDataset.load(tmp_path / "out").catalog.items
    assert (card["reading"]["rows"], card["sources"][0]["format"]) == (2972, "amazon")
    assert items["title"].null_count() == 0
    assert card["scale"]["levels"] == 5
    both = [real_data("gift-cards/meta_Gift_Cards.json.gz"), real_data("gift-cards/Gift_Cards_5.json.gz")]
    prepare(both, tmp_path / "both")
    assert ReviewDataset.load(tmp_path / "both").catalog.items.equals(items)


def test_rt_critics_keeps_its_split_and_features_are_mined_in_seconds(
    real_data: Callable[[str], Path], tmp_path: Path
) -> None:
    start = time.monotonic()
    card = prepare([real_data("rt-critics/reviews.jsonl.gz")], tmp_path / "out", PrepareOptions(split="column"))
    assert time.monotonic() - start < 20
    assert card["splits"]["sizes"] == {"train": 23_484, "valid": 2_936, "test": 2_936}
    assert sum(card["splits"]["unknown users"].values()) == 0
    assert {"story", "acting", "plot", "dialogue", "performances"} <= set(
        ReviewDataset.load(tmp_path / "out").catalog.features
    )
    assert not {"film", "movie", "films", "movies"} & set(ReviewDataset.load(tmp_path / "out").catalog.features)
