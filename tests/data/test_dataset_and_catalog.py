"""The contract of a prepared dataset and of its catalog."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import FILES, ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.readers.open import read_reviews
from gavamoe.errors import DataError


@pytest.fixture
def dataset(write_lines: Callable[..., Path], tmp_path: Path, reviews: list) -> ReviewDataset:
    write_lines(
        "items.jsonl",
        [{"item": f"i{n}", "title": f"Item {n}", "genres": ["A", "B"], "synopsis": "<b>about</b>"} for n in range(8)],
    )
    prepare([write_lines("reviews.jsonl.gz", reviews)], tmp_path / "out")
    return ReviewDataset.load(tmp_path / "out")


def test_encoding_raw_reviews_gives_the_prepared_texts_and_features(
    write_lines: Callable[..., Path], tmp_path: Path, reviews: list
) -> None:
    filler = "We went there on a Monday and it rained all day long. " * 8
    raw = [
        {**row, "text": f"{filler}{row['text'].capitalize()}. {filler}"} if n % 3 else row
        for n, row in enumerate(reviews)
    ]
    source = write_lines("long.jsonl", raw)
    prepare([source], tmp_path / "out")
    dataset = ReviewDataset.load(tmp_path / "out")
    dataset.catalog.save(tmp_path / "catalog")
    prepared = dataset.interactions(columns=["user", "item", "text", "feature"]).sort("user", "item")
    assert prepared["text"].str.len_chars().max() < len(filler)
    for catalog in (dataset.catalog, Catalog.load(tmp_path / "catalog")):
        encoded = catalog.encode(read_reviews(source)).select(prepared.columns).sort("user", "item")
        assert encoded.equals(prepared)


def test_columns_and_types_are_as_documented(dataset: ReviewDataset) -> None:
    assert dict(dataset.interactions().schema) == {
        "user": pl.String,
        "item": pl.String,
        "user_id": pl.Int32,
        "item_id": pl.Int32,
        "rating": pl.Float32,
        "level": pl.Int8,
        "text": pl.String,
        "words": pl.UInt32,
        "feature": pl.String,
        "opinion": pl.String,
        "sentiment": pl.Int8,
        "timestamp": pl.Int64,
        "split": pl.String,
    }


def test_every_source_row_occurs_once_in_order(dataset: ReviewDataset, reviews: list) -> None:
    rows = dataset.interactions(columns=["user", "item", "rating", "timestamp"])
    assert rows.rows() == [(r["user"], r["item"], r["rating"], r["timestamp"]) for r in reviews]
    assert len(dataset) == len(reviews) == sum(dataset.splits.values())


def test_ids_are_given_to_training_users_and_items_in_name_order(dataset: ReviewDataset) -> None:
    catalog = dataset.catalog
    rows = dataset.interactions()
    assert catalog.user_names == ["<unknown>", *sorted(set(rows.filter(split="train")["user"]))]
    for row in rows.iter_rows(named=True):
        assert catalog.user_names[row["user_id"]] == row["user"]
        assert catalog.item_names[row["item_id"]] == row["item"]
        assert catalog.user_id(row["user"]) == row["user_id"]
    assert catalog.user_id("nobody") == catalog.item_id("nothing") == 0


def test_counts_history_and_arrays_agree(dataset: ReviewDataset) -> None:
    catalog, train = dataset.catalog, dataset.arrays("train")
    np.testing.assert_array_equal(catalog.user_counts, np.bincount(train.user_id, minlength=catalog.n_users + 1))
    item_counts = [0, *catalog.items["n_train"]]
    np.testing.assert_array_equal(item_counts, np.bincount(train.item_id, minlength=catalog.n_items + 1))
    for user in range(catalog.n_users + 1):
        np.testing.assert_array_equal(catalog.seen(user), np.sort(train.item_id[train.user_id == user]))
    assert train.level.dtype == np.int64
    assert replace(catalog, history=catalog.history.with_columns(user_id=pl.lit(0))).seen(0).tolist() == []
    with pytest.raises(DataError, match="user id 99"):
        catalog.seen(99)


def test_sidecar_metadata_is_joined(dataset: ReviewDataset) -> None:
    items = dataset.catalog.items.sort("item")
    assert items["title"].to_list() == [f"Item {n}" for n in range(8)] + [None, None]
    assert items["categories"][0].to_list() == ["A", "B"]
    assert items["description"][0] == "about"
    assert dataset.card["items"]["described"] == 8


def test_card_page_has_the_counts_and_three_plots(with_card_page: None, dataset: ReviewDataset) -> None:
    page = (dataset.path / "card.md").read_text()
    assert "120 reviews by 12 known users of 10 known items" in page
    assert f"| train | {dataset.splits['train']} | 0 | 0 |" in page
    for plot in ("ratings.png", "sparsity.png", "lengths.png"):
        assert f"({plot})" in page
        assert (dataset.path / plot).stat().st_size > 1000


def test_glob_characters_in_directory_names_are_literal(
    with_card_page: None, write_lines: Callable[..., Path], tmp_path: Path, reviews: list
) -> None:
    path = tmp_path / "run [1]*?"
    prepare([write_lines("r.jsonl", reviews)], path / "data")
    dataset = ReviewDataset.load(path / "data")
    dataset.catalog.save(path / "catalog")
    assert Catalog.load(path / "catalog").history.height == dataset.interactions("train").height
    assert len(dataset.mapped_arrays(path / "arrays")["test"]) == dataset.splits["test"]
    prepare([path / "data" / "interactions.parquet"], path / "again")


def test_preparing_again_gives_the_same_bytes(dataset: ReviewDataset, tmp_path: Path) -> None:
    prepare([tmp_path / "reviews.jsonl.gz"], tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (dataset.path / name).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_named_in_the_error(dataset: ReviewDataset, name: str) -> None:
    (dataset.path / name).unlink()
    with pytest.raises(DataError, match=f"lacks {name}: make the dataset with `gavamoe prepare"):
        ReviewDataset.load(dataset.path)


def test_missing_directory_unknown_split_and_other_format_are_data_errors(
    dataset: ReviewDataset, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="not a directory"):
        ReviewDataset.load(tmp_path / "absent")
    with pytest.raises(DataError, match="split 'dev' is unknown"):
        dataset.interactions("dev")
    (dataset.path / "card.json").write_text(json.dumps({**dataset.card, "format": 99}))
    with pytest.raises(DataError, match="format 99"):
        ReviewDataset.load(dataset.path)


def test_saved_catalog_loads_without_the_dataset(dataset: ReviewDataset, tmp_path: Path) -> None:
    dataset.catalog.save(tmp_path / "run" / "catalog")
    loaded = Catalog.load(tmp_path / "run" / "catalog")
    for name in ("users", "items", "history"):
        assert getattr(loaded, name).equals(getattr(dataset.catalog, name))
    assert (loaded.scale, loaded.features) == (dataset.scale, dataset.catalog.features)
    assert loaded.extractor == dataset.catalog.extractor
    (tmp_path / "run" / "catalog" / "history.parquet").unlink()
    with pytest.raises(DataError, match=r"history\.parquet is missing"):
        Catalog.load(tmp_path / "run" / "catalog")


def test_encode_gives_the_prepared_ids_levels_and_features(dataset: ReviewDataset) -> None:
    rows = dataset.interactions()
    encoded = dataset.catalog.encode(rows.select("user", "item", "rating", "text"))
    assert encoded.select("user_id", "item_id", "level", "feature").equals(
        rows.select("user_id", "item_id", "level", "feature")
    )


def test_encode_accepts_numeric_names_and_maps_unknown_ones_to_0(
    write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [{"user": n % 3, "item": 10 + n % 4, "rating": 1 + n % 5} for n in range(12)]
    prepare([write_lines("r.jsonl", rows)], tmp_path / "out")
    catalog = ReviewDataset.load(tmp_path / "out").catalog
    encoded = catalog.encode(pl.DataFrame({"user": [2, 77], "item": [13, 10], "rating": [5, 1]}))
    assert encoded.select("user_id", "item_id", "level").rows() == [(catalog.user_id(2), 4, 5), (0, 1, 1)]
    with pytest.raises(DataError, match="row 2: rating 9"):
        catalog.encode(pl.DataFrame({"user": [1, 1], "item": [1, 1], "rating": [1, 9]}))
    with pytest.raises(DataError, match="lack the column rating"):
        catalog.encode(pl.DataFrame({"user": [1], "item": [1]}))


def test_reviews_without_text_have_no_features_and_are_counted(
    write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [{"user": f"u{n}", "item": "i", "rating": 3} for n in range(5)]
    card = prepare([write_lines("r.jsonl", rows)], tmp_path / "out")
    assert (card["features"]["count"], card["reading"]["texts empty"]) == (0, 5)
    assert ReviewDataset.load(tmp_path / "out").catalog.features == []


def test_several_files_and_globs_make_one_dataset(
    write_lines: Callable[..., Path], tmp_path: Path, reviews: list
) -> None:
    for part in range(3):
        write_lines(f"part-{part}.jsonl", reviews[part::3])
    card = prepare([tmp_path / "part-*.jsonl"], tmp_path / "out", PrepareOptions(features="off"))
    assert card["counts"]["reviews"] == 120
    assert [source["name"] for source in card["sources"]] == ["part-0.jsonl", "part-1.jsonl", "part-2.jsonl"]
    with pytest.raises(DataError, match="no file matches"):
        prepare([tmp_path / "*.csv"], tmp_path / "out")
