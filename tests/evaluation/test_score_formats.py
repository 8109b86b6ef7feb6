"""`score` reads the formats that `prepare` reads, and gives the same numbers from each."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gavamoe.errors import DataError
from gavamoe.evaluation.score_file import score_file

ROWS: list[dict[str, Any]] = [
    {"prediction": "the pool was warm", "reference": "a warm pool, café", "rating": 4, "predicted_rating": 3.5},
    {"prediction": "so fine", "reference": None, "rating": 5, "predicted_rating": 4},
    {"prediction": "", "reference": "the staff was kind", "rating": 1, "predicted_rating": 2},
]


def comparable(path: Path, **options: Any) -> dict[str, Any]:
    result = score_file(path, **options)
    return {**result, "conditions": {**result["conditions"], "source": "", "read_as": ""}}


def test_every_format_gives_the_same_scores(tmp_path: Path) -> None:
    frame = pl.DataFrame(ROWS)
    lines = "\n".join(map(json.dumps, ROWS)).encode()
    files = {
        "a.jsonl": lines,
        "a.json": json.dumps(ROWS).encode(),
        "wrapped.json": json.dumps({"model": "x", "rows": ROWS}, indent=1).encode(),
        "a.csv": frame.write_csv().encode(),
        "a.tsv": frame.write_csv(separator="\t").encode(),
        "cp.csv": frame.write_csv().encode("windows-1252"),
        "a.csv.gz": gzip.compress(frame.write_csv().encode()),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    frame.write_parquet(tmp_path / "a.parquet")
    expected = comparable(tmp_path / "a.jsonl")
    assert expected["n"] == 3
    for name in [*files, "a.parquet"]:
        assert comparable(tmp_path / name) == expected, name
    assert "windows-1252" in score_file(tmp_path / "cp.csv")["conditions"]["read_as"]
    assert comparable(tmp_path / "wrapped.json", records="rows") == expected
    assert comparable(tmp_path / "cp.csv", encoding="windows-1252") == expected


def test_null_reference_counts_for_ratings_only(tmp_path: Path) -> None:
    for reference in (None, ""):
        rows = [ROWS[0], {**ROWS[1], "reference": reference}]
        (tmp_path / f"{reference}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    null, empty = score_file(tmp_path / "None.jsonl"), score_file(tmp_path / ".jsonl")
    assert null["metrics"] == empty["metrics"]
    assert null["metrics"]["MAE"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "prediction,other\nx,y\n", "line 2: 'reference' is missing; found prediction, other"),
        ("a.csv", "prediction,reference,rating\nx,y,good\n", "line 2: 'rating' must be a number, not 'good'"),
        ("a.json", '[{"prediction": "x", "reference": 3}]', "line 1: 'reference' must be a text, not 3"),
        ("a.jsonl", '{"prediction": "x", "reference": "y"}\n{"predi', "line 2: not JSON"),
        ("a.csv", "", "is empty"),
    ],
)
def test_unusable_rows_are_named(tmp_path: Path, name: str, content: str, expected: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=expected):
        score_file(tmp_path / name)
