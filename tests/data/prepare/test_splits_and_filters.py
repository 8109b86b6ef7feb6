"""Splits, the k-core and the other filters of `prepare`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.prepare.filters import k_core
from gavamoe.data.prepare.splits import TEST, TRAIN, VALID, split_rows
from gavamoe.errors import DataError

PAIRS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9)), min_size=1, max_size=200, unique=True)


def keys(pairs: list[tuple[int, int]]) -> pl.DataFrame:
    frame = pl.DataFrame(pairs, schema={"user": pl.Int64, "item": pl.Int64}, orient="row")
    return frame.with_columns(timestamp=pl.Series(range(len(pairs)), dtype=pl.Int64), split=pl.lit(None, pl.String))


@given(PAIRS, st.integers(0, 5))
def test_random_split_keeps_a_training_record_of_each_user_and_item(pairs: list[tuple[int, int]], seed: int) -> None:
    frame = keys(pairs)
    split = split_rows(frame, "random", seed)
    train = frame.filter(split == TRAIN)
    assert set(train["user"]) == set(frame["user"])
    assert set(train["item"]) == set(frame["item"])
    np.testing.assert_array_equal(split, split_rows(frame, "random", seed))


@given(PAIRS, st.integers(0, 5))
def test_a_column_without_validation_keeps_its_test_rows_and_draws_validation_from_training(pairs, seed) -> None:
    named = pl.Series(["test" if number % 4 == 3 else "train" for number in range(len(pairs))])
    frame = keys(pairs).with_columns(split=named)
    split = split_rows(frame, "column", seed)
    assert ((split == TEST) == (named == "test").to_numpy()).all()
    train, kept = frame.filter(named == "train"), frame.filter(split == TRAIN)
    assert set(kept["user"]) == set(train["user"])
    assert set(kept["item"]) == set(train["item"])
    with_valid = frame.with_columns(split=pl.Series(["valid", *named[1:]]))
    if "train" in with_valid["split"]:
        assert int((split_rows(with_valid, "column", seed) == VALID).sum()) == 1


def test_random_split_is_8_1_1_with_enough_records() -> None:
    split = split_rows(keys([(user, item) for user in range(50) for item in range(20)]), "random", 0)
    assert [int((split == part).sum()) for part in (TRAIN, VALID, TEST)] == [800, 100, 100]
    assert (split != split_rows(keys([(user, item) for user in range(50) for item in range(20)]), "random", 1)).any()


def test_anonymous_reviews_are_in_the_test_split_like_others(
    write_lines: Callable[..., Path], tmp_path: Path, reviews: list
) -> None:
    rows = [{**row, "user": "Anonymous"} if n % 4 else row for n, row in enumerate(reviews)]
    prepare([write_lines("r.jsonl", rows)], tmp_path / "out")
    dataset = ReviewDataset.load(tmp_path / "out")
    test_users = dataset.interactions("test", ["user_id"])["user_id"]
    assert (len(test_users), int((test_users == 0).sum()) > 0) == (12, True)
    assert dataset.catalog.n_users == len({row["user"] for row in reviews[::4]})


@given(PAIRS)
def test_temporal_split_never_trains_on_the_future(pairs: list[tuple[int, int]]) -> None:
    frame = keys(pairs)
    split = split_rows(frame, "temporal", 0)
    time = frame["timestamp"].to_numpy()
    for earlier, later in ((TRAIN, VALID), (TRAIN, TEST), (VALID, TEST)):
        if (split == earlier).any() and (split == later).any():
            assert time[split == earlier].max() < time[split == later].min()


@given(PAIRS, st.integers(2, 5))
def test_k_core_is_the_largest_set_with_k_reviews_each(pairs: list[tuple[int, int]], k: int) -> None:
    user, item = (np.array(codes) for codes in zip(*pairs, strict=True))
    keep = k_core(user, item, np.ones(len(pairs), dtype=bool), k)
    rows = set(range(len(pairs)))
    while True:  # the definition: drop one violating row at a time until there is none
        violating = next(
            (n for n in rows if min(sum(c[m] == c[n] for m in rows) for c in (user, item)) < k),
            None,
        )
        if violating is None:
            break
        rows.remove(violating)
    assert set(np.flatnonzero(keep)) == rows


def test_users_and_items_without_a_training_record_get_id_0(
    write_lines: Callable[..., Path], tmp_path: Path, reviews: list
) -> None:
    late = [{"user": "new", "item": "i0", "rating": 3, "timestamp": 2_000_000_000 + n} for n in range(1)]
    prepare([write_lines("r.jsonl", reviews + late)], tmp_path / "out", PrepareOptions(split="temporal"))
    dataset = ReviewDataset.load(tmp_path / "out")
    rows = dataset.interactions()
    train_users = set(rows.filter(split="train")["user"])
    assert set(rows.filter(user_id=0)["user"]) == set(rows["user"]) - train_users
    assert "new" not in dataset.catalog.user_names
    assert dataset.card["splits"]["unknown users"]["test"] == rows.filter(split="test", user_id=0).height > 0


def test_temporal_split_without_times_and_column_split_without_column_are_data_errors(
    write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_lines("r.jsonl", [{"user": "a", "item": "b", "rating": 1}])
    with pytest.raises(DataError, match="1 of 1 have none; name the column with --timestamp-col"):
        prepare([path], tmp_path / "out", PrepareOptions(split="temporal"))
    late = write_lines("t.jsonl", [{"user": "a", "item": "b", "rating": 1, "time": "last spring"}])
    with pytest.raises(DataError, match=r"none in a known format, such as 'last spring' \(.*t.jsonl: line 1\); write"):
        prepare([late], tmp_path / "out", PrepareOptions(split="temporal"))
    with pytest.raises(DataError, match="--split column needs a column"):
        prepare([path], tmp_path / "out", PrepareOptions(split="column"))


def test_latest_review_of_a_repeated_pair_is_kept(write_lines: Callable[..., Path], tmp_path: Path) -> None:
    rows = [
        {"user": "a", "item": "b", "rating": 5, "timestamp": 20, "text": "later"},
        {"user": "a", "item": "b", "rating": 1, "timestamp": 10, "text": "earlier"},
        {"user": "a", "item": "c", "rating": 3, "timestamp": 10, "text": "other"},
    ]
    card = prepare([write_lines("r.jsonl", rows)], tmp_path / "out")
    assert ReviewDataset.load(tmp_path / "out").interactions()["text"].to_list() == ["later", "other"]
    assert card["reading"]["repeated user-item pairs"] == 1


def test_a_pair_keeps_its_latest_review_that_passes_the_filters(write_lines: Callable[..., Path], tmp_path: Path):
    rows = [
        {"user": "a", "item": "b", "rating": 5, "timestamp": 10, "text": "long enough to be kept"},
        {"user": "a", "item": "b", "rating": 1, "timestamp": 20, "text": "short"},
    ]
    card = prepare([write_lines("r.jsonl", rows)], tmp_path / "out", PrepareOptions(min_words=3))
    assert ReviewDataset.load(tmp_path / "out").interactions()["text"].to_list() == ["long enough to be kept"]
    assert card["filters"]["dropped"] == {"fewer than 3 words": 1, "repeated user-item pairs": 0}


def test_filters_are_applied_and_counted(write_lines: Callable[..., Path], tmp_path: Path, reviews: list) -> None:
    rows = [*reviews, {"user": "once", "item": "i0", "rating": 3, "text": "one review only but long enough"}]
    rows.append({"user": "u0", "item": "rare", "rating": 3, "text": "short"})
    card = prepare([write_lines("r.jsonl", rows)], tmp_path / "out", PrepareOptions(k_core=5, min_words=3))
    assert card["counts"]["reviews"] == 120
    assert card["filters"]["dropped"] == {"fewer than 3 words": 1, "repeated user-item pairs": 0, "5-core": 1}
    with pytest.raises(DataError, match="no review is left"):
        prepare([write_lines("r.jsonl", rows)], tmp_path / "out", PrepareOptions(k_core=50))


def test_language_filter_keeps_the_requested_language(write_lines: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("lingua", reason="the language filter is an extra")
    texts = ["The acting is wonderful and the story is moving", "Das Essen war kalt und die Bedienung unfreundlich"]
    rows = [{"user": f"u{n}", "item": "i", "rating": 1, "text": text} for n, text in enumerate(texts * 3)]
    prepare([write_lines("r.jsonl", rows)], tmp_path / "out", PrepareOptions(language="en"))
    assert ReviewDataset.load(tmp_path / "out").interactions()["text"].unique().to_list() == texts[:1]
    with pytest.raises(DataError, match="ISO 639-1"):
        prepare([write_lines("r.jsonl", rows)], tmp_path / "out", PrepareOptions(language="english"))


def test_a_split_without_validation_rows_and_times_that_all_tie_are_named(
    write_lines: Callable[..., Path], tmp_path: Path, reviews: list
) -> None:
    path = write_lines(
        "r.jsonl", [{**row, "split": "test" if n % 5 == 0 else "train"} for n, row in enumerate(reviews)]
    )
    card = prepare([path], tmp_path / "published", PrepareOptions(split="column"))
    assert "names no validation reviews" in card["notes"]["split"]
    assert card["splits"]["sizes"]["test"] == len(reviews) // 5
    assert card["splits"]["sizes"]["valid"] > 0
    path = write_lines("t.jsonl", [{**row, "timestamp": 1_500_000_000} for row in reviews])
    card = prepare([path], tmp_path / "tied", PrepareOptions(split="temporal"))
    assert any("too coarse for --split temporal" in warning for warning in card["warnings"])


def test_whole_numbers_written_as_decimals_are_named(
    write_lines: Callable[..., Path], tmp_path: Path, reviews: list
) -> None:
    for of, expected in ((lambda name: f"{int(name[1:])}.0", True), (lambda name: name, False)):
        rows = [{**row, "user": of(row["user"])} for row in reviews]
        card = prepare([write_lines("r.jsonl", rows)], tmp_path / str(expected))
        assert any("written as decimals" in warning for warning in card.get("warnings", ())) == expected
