"""Every error in a file gives one line that names the file, the place and what was expected."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.readers.open import ReadOptions, open_sources, read_reviews
from gavamoe.data.readers.rows import BadLines
from gavamoe.data.scale import RatingScale
from gavamoe.errors import DataError

NO_ROWS = io.BytesIO()
pl.DataFrame(schema={"user": pl.String, "item": pl.String, "rating": pl.Float32}).write_parquet(NO_ROWS)
EMPTY = [b"", b"\n\n", gzip.compress(b"", mtime=0), b"[]", pickle.dumps([]), NO_ROWS.getvalue()]
GOOD = b'{"user": "a", "item": "b", "rating": 3, "text": "x"}\n'


def error_line(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_reviews(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"\n\n", "blank|empty"),
        (GOOD * 3 + b'{"user": "a", \n', "line 4: not JSON"),
        (GOOD * 3 + b"[1, 2]\n", "line 4: expected a JSON object"),
        (GOOD + b'{"user": "a", "item": "b", "rating": "good"}\n', "line 2: rating 'good' is not a number"),
        (GOOD + b'{"user": "a", "item": "b", "rating": NaN}\n', "line 2"),
        (GOOD + b'{"user": "a", "item": "b", "rating": true}\n', "line 2: rating 'true' is not a number"),
        (GOOD + b'{"user": "a", "item": "b"}\n', "line 2: no rating"),
        (GOOD + b'\n{"item": "b", "rating": 3}\n', "line 3: no user"),
        (GOOD + b'{"user": "a", "item": " ", "rating": 3}\n', "line 2: no item"),
        (b'{"user": "a", "rating": 3}\n', "no column that could be the item; found user, rating"),
        (b"[" + GOOD + b"," + GOOD[:-4] + b"]", "element 2 of the array is not JSON"),
        (b"[" + GOOD + b",[1]]", "line 2: expected a JSON object"),
        (b"[" + GOOD + b"] x", "something follows the JSON array"),
        (b"[" + GOOD, "element 2 of the array is not JSON"),
        (b"[]", "no reviews"),
        (b'{"Reviews": 3}', "no column that could be the user; found Reviews"),
        (b"user,item,rating\na,b,3\na,b,3,4\n", "line 3: 4 values for 3 columns"),
        ("user,item,rating\né,b,3\n".encode() + b"\xff\xfe,b,3\n", "line 3: not UTF-8 .*--encoding"),
        (b'user,item,rating,text\na,b,3,"x\ny"\na,b,z,w\n', "line 4: rating 'z'"),
        (b"user,user,item,rating\na,a,b,3\n", "the column user occurs twice"),
        (b"user,item,rating,split\na,b,3,holdout\n", "line 2: split 'holdout' is unknown"),
        (b"a,b,3\n", "no column that could be the user; found a, b, 3; .*rename that column to user"),
        (b"user,item,rating\n", "no reviews"),
        (b"user\rx,item,rating\na,b,3\n", "line 1 is not a line of column names"),
        (gzip.compress(GOOD * 1000, mtime=0)[:-9], "cut short"),
        (gzip.compress(GOOD * 1000, mtime=0)[:30] + b"\x00" * 30, "damaged|cut short"),
        (b"PAR1 is how Parquet begins, and this is not it", "not a Parquet file"),
        (b"\x80\x04 not a pickle", "not a pickle"),
        (gzip.compress(pickle.dumps([{"user": "a", "text": "x" * n} for n in range(99)]), mtime=0)[:-9], "cut short"),
        (b"\x7fELF\x00\x00\x01\x02", "is a program"),
    ],
)
def test_bad_file_gives_a_one_line_error(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "reviews.data"
    path.write_bytes(content)
    assert re.search(expected, error_line(path))


def test_missing_file_and_directory_are_data_errors(tmp_path: Path) -> None:
    assert "does not exist" in error_line(tmp_path / "absent.jsonl")
    assert "is a directory" in error_line(tmp_path)


def test_truncated_zstd_is_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.zst"
    frame = pl.DataFrame([json.loads(GOOD)] * 2000)
    frame.write_ndjson(path, compression="zstd", check_extension=False)
    path.write_bytes(path.read_bytes()[:-5])
    assert "cut short" in error_line(path)


@pytest.mark.parametrize("empty", EMPTY)
def test_empty_file_among_others_is_ignored_and_counted(
    write_lines: Callable[..., Path], tmp_path: Path, reviews: list, empty: bytes
) -> None:
    (tmp_path / "part-0").write_bytes(empty)
    write_lines("part-1", reviews)
    card = prepare([tmp_path / "part-*"], tmp_path / "out")
    assert (card["counts"]["reviews"], card["reading"]["files without reviews"]) == (120, 1)
    (tmp_path / "part-1").write_bytes(empty)
    with pytest.raises(DataError, match=r"part-0 (is empty|has no reviews)"):
        prepare([tmp_path / "part-*"], tmp_path / "out")


def test_skip_bad_drops_and_counts_up_to_n_lines(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes((GOOD * 5 + b"not json\n" + GOOD * 5 + b'{"user": "a", "item": "b", "rating": "z"}\n') * 2)
    card = prepare([path], tmp_path / "out", PrepareOptions(skip_bad=4, split="random"))
    assert card["reading"]["rows"] == 20
    assert card["reading"]["bad lines dropped"] == 4
    with pytest.raises(DataError, match=r"line 24: .*already dropped 3 lines"):
        prepare([path], tmp_path / "out", PrepareOptions(skip_bad=3))


@pytest.mark.parametrize(
    ("row", "expected"),
    [({"rating": 11}, "line 41: rating 11 is out of range"), ({"rating": -1}, "line 41: rating -1 is out of range")],
)
def test_rating_out_of_range_is_reported_with_its_line(
    write_lines: Callable[..., Path], tmp_path: Path, row: dict[str, Any], expected: str
) -> None:
    good = [{"user": f"u{n}", "item": "i", "rating": 1 + n % 5} for n in range(40)]
    path = write_lines("r.jsonl", [*good, {"user": "a", "item": "i", **row}])
    with pytest.raises(DataError, match=expected):
        prepare([path], tmp_path / "out")


@pytest.mark.parametrize("scale", [None, RatingScale.between(1, 5)])
def test_skip_bad_drops_ratings_out_of_range(
    write_lines: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: RatingScale | None
) -> None:
    monkeypatch.setattr("gavamoe.data.readers.lines.CHUNK_BYTES", 500)  # some parts contain bad ratings, others none
    rows = [{"user": f"u{n}", "item": "i", "rating": 1 + n % 5, "text": f"fine {n}"} for n in range(40)]
    rows[20]["rating"], rows[30]["rating"], rows[31]["rating"] = 11, 12, -1
    path = write_lines("r.jsonl", rows)
    card = prepare([path], tmp_path / "out", PrepareOptions(skip_bad=3, scale=scale))
    assert (card["reading"]["rows"], card["reading"]["bad lines dropped"]) == (37, 3)
    assert any("line 21: rating 11 is out of range" in line for line in card["reading"]["bad line examples"])
    kept = [row["text"] for row in rows if 1 <= row["rating"] <= 5]
    assert ReviewDataset.load(tmp_path / "out").interactions()["text"].to_list() == kept
    with pytest.raises(DataError, match=r"is out of range .*already dropped 2 lines.*--skip-bad"):
        prepare([path], tmp_path / "out", PrepareOptions(skip_bad=2, scale=scale))


def test_existing_dataset_survives_a_failed_preparation(
    write_lines: Callable[..., Path], tmp_path: Path, reviews: list
) -> None:
    out = tmp_path / "out"
    prepare([write_lines("good.jsonl", reviews)], out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    bad = write_lines("bad.jsonl", [*reviews, {"user": "x"}])
    with pytest.raises(DataError):
        prepare([bad], out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    with pytest.raises(DataError):
        prepare([bad], tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "good.jsonl", "out"]


def test_directory_that_is_no_dataset_is_not_replaced(
    write_lines: Callable[..., Path], tmp_path: Path, reviews: list
) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter.tex").write_text("years of work")
    with pytest.raises(DataError, match=r"holds chapter\.tex, which is no part of a dataset"):
        prepare([write_lines("good.jsonl", reviews)], out)
    assert (out / "chapter.tex").exists()


def test_unknown_format_and_mismatched_format_are_data_errors(write_lines: Callable[..., Path], reviews: list) -> None:
    with pytest.raises(DataError, match="format 'netflix' is unknown: expected auto, amazon"):
        ReadOptions(format="netflix")
    with pytest.raises(DataError, match=r"not in the yelp format: .* columns user_id\+business_id\+stars\+text"):
        open_sources([write_lines("r.jsonl", reviews)], ReadOptions(format="yelp"), BadLines())


def test_a_file_with_thousands_of_columns_is_refused_with_the_advice_that_follows_them(write_lines) -> None:
    wide = write_lines("r.jsonl", [{f"column {n}": n for n in range(5_000)}])
    advice = "found column 0, column 1, .*column 39 and 4,960 more; name it with --user-col"
    with pytest.raises(DataError, match=advice) as refused:
        open_sources([wide], ReadOptions(), BadLines())
    assert len(str(refused.value)) < 1_500
