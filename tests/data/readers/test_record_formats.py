"""Records are read as people have them: Python dicts, JSON documents, key-value records, dumps, and odd CSV."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.readers.open import ReadOptions, open_rows, read_reviews
from gavamoe.data.readers.reading import Reading
from gavamoe.data.readers.rows import BadLines
from gavamoe.errors import DataError

ROWS: list[dict[str, Any]] = [
    {"user": f"u{n}", "item": f"i{n % 4}", "rating": float(1 + n % 5), "text": text}
    for n, text in enumerate(['It\'s "fine", he said', "a\\b {c: [d]}", "é 好", "plain", "5L of nan", "u'x'"] * 3)
]
EXPECTED = [(row["user"], row["item"], row["rating"], row["text"]) for row in ROWS]


def python_2(row: dict[str, Any]) -> str:
    parts = (f"u{name!r}: {'u' if isinstance(value, str) else ''}{value!a}" for name, value in row.items())
    return "{" + ", ".join(parts) + ", u'helpful': 12L, u'early_access': False, u'found': None}"


def first_key_in_double_quotes(row: dict[str, Any]) -> str:
    return repr(row).replace("'user'", '"user"', 1)


def read(path: Path, **options: Any) -> tuple[list[tuple], Reading]:
    readings: list[Reading] = []
    frame = read_reviews(path, ReadOptions(**options), lambda _, reading: readings.append(reading))
    return frame.rows(), readings[0]


@pytest.mark.parametrize("write", [repr, python_2, first_key_in_double_quotes, json.dumps])
@pytest.mark.parametrize("layout", ["lines", "list", "indented list", "mixed with JSON"])
@pytest.mark.parametrize("chunk_bytes", [30, 16 << 20])
def test_python_dicts_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[dict], str], layout: str, chunk_bytes: int
) -> None:
    monkeypatch.setattr("gavamoe.data.readers.lines.CHUNK_BYTES", chunk_bytes)
    lines = [json.dumps(row) if layout == "mixed with JSON" and n < 3 else write(row) for n, row in enumerate(ROWS)]
    text = (
        "\n".join(lines)
        if "list" not in layout
        else "[" + (",\n" if layout == "list" else " ,\n\n  ").join(lines) + "]"
    )
    (tmp_path / "r.json").write_text(text, encoding="utf-8")
    assert read(tmp_path / "r.json")[0] == EXPECTED


@pytest.mark.parametrize("code", ["__import__('os').mkdir('x')", "(lambda: 1)()", "[x for x in (1,)]", "f'{1}'"])
def test_python_lines_are_never_evaluated(tmp_path: Path, code: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(f"{{'user': 'a', 'item': 'b', 'rating': 1}}\n{{'user': {code}, 'item': 'b', 'rating': 1}}\n")
    with pytest.raises(DataError, match="line 2: not JSON"):
        read(path)


@pytest.mark.parametrize("array", [False, True])
def test_nan_in_json_is_a_missing_value(tmp_path: Path, array: bool) -> None:
    rows = [*ROWS, {"user": "u", "item": "i", "rating": 1.0, "text": float("nan"), "votes": float("-inf")}]
    rows += [{"user": "Ann", "item": "i", "rating": 1.0, "text": "say: NaN, Infinity"}]
    (tmp_path / "r").write_text(json.dumps(rows) if array else "\n".join(map(json.dumps, rows)))
    assert read(tmp_path / "r")[0] == [*EXPECTED, ("u", "i", 1.0, ""), ("Ann", "i", 1.0, "say: NaN, Infinity")]


def without_item(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "item"}


BY_ITEM = {item: [without_item(row) for row in ROWS if row["item"] == item] for item in ("i0", "i1", "i2", "i3")}
DOCUMENTS: dict[str, tuple[Any, str]] = {
    "wrapped": ({"status": "ok", "reviews": ROWS}, "reviews"),
    "nested": ({"data": {"page": 1, "reviews": ROWS}, "links": [{"rel": "next"}]}, "data.reviews"),
    "by item": ({"items": [{"item": item, "reviews": rows} for item, rows in BY_ITEM.items()]}, "items.reviews"),
    "columns by row": (pd.DataFrame(ROWS).to_dict(), ""),
    "columns as lists": (pd.DataFrame(ROWS).to_dict("list"), ""),
    "split table": (pd.DataFrame(ROWS).to_dict("split"), ""),
    "records by key": (pd.DataFrame(ROWS).to_dict("index"), ""),
    "table with a schema": ({"schema": {"fields": [{"name": "user"}]}, "data": ROWS}, "data"),
}


@pytest.mark.parametrize("indent", [None, 1], ids=["one line", "indented"])
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_records_inside_documents_are_found(tmp_path: Path, kind: str, indent: int | None) -> None:
    document, at = DOCUMENTS[kind]
    (tmp_path / "r.json").write_text(json.dumps(document, indent=indent))
    rows, reading = read(tmp_path / "r.json")
    assert sorted(rows) == sorted(EXPECTED)
    assert reading.records == at
    assert (f"records at {at} (guessed; --records says otherwise)" in reading.describe()) == bool(at)
    if at:
        rows, reading = read(tmp_path / "r.json", records=at)
        assert (sorted(rows), reading.describe()) == (sorted(EXPECTED), [])
        with pytest.raises(DataError, match=r"no list of objects at 'absent.path'; there are lists at"):
            read(tmp_path / "r.json", records="absent.path")


def test_lists_inside_lines_are_read_where_named(tmp_path: Path) -> None:
    lines = [json.dumps({"item": item, "name": "x", "reviews": rows}) for item, rows in BY_ITEM.items()]
    (tmp_path / "r.jsonl").write_text("\n".join([*lines, json.dumps({"item": "none", "reviews": []})]))
    assert sorted(read(tmp_path / "r.jsonl", records="reviews")[0]) == sorted(EXPECTED)


def test_objects_over_several_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("\n".join(json.dumps(row, indent=2) for row in ROWS))
    assert read(tmp_path / "r.json")[0] == EXPECTED
    (tmp_path / "one.json").write_text(json.dumps(ROWS[0], indent=2))
    assert read(tmp_path / "one.json")[0] == EXPECTED[:1]


def test_extended_json_of_mongo_is_read(tmp_path: Path) -> None:
    lines = [
        json.dumps(
            {
                "_id": {"$oid": f"65{n:022}"},
                "user": {"$oid": row["user"]},
                "item": row["item"],
                "rating": {"$numberInt": str(int(row["rating"]))} if n % 2 else {"$numberDouble": str(row["rating"])},
                "text": row["text"],
                "date": {"$date": {"$numberLong": "1529193600000"}} if n % 2 else {"$date": "2018-06-17T00:00:00Z"},
            }
        )
        for n, row in enumerate(ROWS)
    ]
    (tmp_path / "r.json").write_text("\n".join(lines))
    assert read(tmp_path / "r.json")[0] == [(*row, 1529193600) for row in EXPECTED]


def test_long_first_line_is_read(tmp_path: Path) -> None:
    long = {**ROWS[0], "text": "word " * 400_000}
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, [long, *ROWS])))
    assert len(read(tmp_path / "r.jsonl")[0]) == len(ROWS) + 1
    (tmp_path / "r.json").write_text("\ufeff" + json.dumps([long, *ROWS]), encoding="utf-8")
    assert len(read(tmp_path / "r.json")[0]) == len(ROWS) + 1


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("chunk_bytes", [25, 16 << 20])
def test_key_value_records_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, chunk_bytes: int
) -> None:
    monkeypatch.setattr("gavamoe.data.readers.lines.CHUNK_BYTES", chunk_bytes)
    records = [
        f"product/productId: i{n}{end}review/userId: u{n}{end}review/score: {1 + n % 5}.0{end}"
        f"review/time: 1529193600{end}review/text: caf\xe9: time {n}, note: it goes{end}on here{end}"
        for n in range(20)
    ]
    (tmp_path / "r.txt").write_bytes(end.join(records).encode("latin-1"))
    columns = {"user": "review/userId", "item": "product/productId", "rating": "review/score", "text": "review/text"}
    rows, reading = read(tmp_path / "r.txt", columns=columns)
    assert rows == [
        (f"u{n}", f"i{n}", 1.0 + n % 5, f"café: time {n}, note: it goes on here", *rows[0][4:]) for n in range(20)
    ]
    assert reading.format == "key-value records"


def test_a_key_that_only_late_records_have_is_no_part_of_the_value_before_it(tmp_path: Path) -> None:
    records = [
        f"product/productId: i{n}\nreview/userId: u{n}\nreview/score: 4.0\n"
        + (f"review/text: fine {n}\nNote: for {n}, it goes on\n" if n >= 120 else "")
        for n in range(400)
    ]
    (tmp_path / "r.txt").write_text("\n".join(records))
    columns = {"user": "review/userId", "item": "product/productId", "rating": "review/score", "text": "review/text"}
    frame = read_reviews(tmp_path / "r.txt", ReadOptions(columns=columns))
    assert frame["user"].to_list() == [f"u{n}" for n in range(400)]
    assert frame["text"][399].startswith("fine 399")


def test_a_field_that_only_late_lines_have_is_a_column(tmp_path: Path) -> None:
    rows = [
        {"user": f"u{n}", "item": "i", "rating": 4, **({"text": f"fine {n}"} if n > 150 else {})} for n in range(400)
    ]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read_reviews(tmp_path / "r.jsonl")["text"][399] == "fine 399"


MYSQL = r"""-- MySQL dump 10.13
DROP TABLE IF EXISTS `users`;
CREATE TABLE `users` (
  `id` int NOT NULL,
  `name` varchar(9) DEFAULT 'a,b',
  PRIMARY KEY (`id`)
) ENGINE=InnoDB;
INSERT INTO `users` VALUES (1,'x');
CREATE TABLE `reviews` (
  `user_id` int NOT NULL,
  `item_id` int,
  `rating` double,
  `text` text,
  KEY `k` (`user_id`)
);
INSERT INTO `reviews` VALUES (1,7,4.5,'It\'s (fine); it''s \"so\"'),(2,8,3,NULL);
INSERT INTO `reviews` (`item_id`, `user_id`, `rating`, `text`) VALUES
(9,3,2,'two
lines;
here');
"""


def test_mysql_dump_gives_the_rows_of_its_table_of_reviews(tmp_path: Path) -> None:
    (tmp_path / "dump.sql").write_text(MYSQL)
    rows, reading = read(tmp_path / "dump.sql")
    assert rows[:2] == [("1", "7", 4.5, "It's (fine); it's \"so\""), ("2", "8", 3.0, "")]
    assert "table reviews; other tables: users" in reading.format


def test_recbole_and_double_colon_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "r.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu1\ti1\t4\t1529193600\n"
    )
    assert read(tmp_path / "r.inter")[0] == [("u1", "i1", 4.0, "", 1529193600)]
    with pytest.raises(DataError, match=r"line 1 names the columns itself \(user_id:token.*--columns"):
        read(tmp_path / "r.inter", header=("user", "item", "rating", "time"))
    (tmp_path / "ratings.dat").write_bytes(b"1::7::5::978300760\r\n2::8::3::978300760\r\n")
    assert read(tmp_path / "ratings.dat")[0] == [("1", "7", 5.0, "", 978300760), ("2", "8", 3.0, "", 978300760)]
    (tmp_path / "movies.dat").write_bytes(b'7::Caf\xe9 (1995)::Comedy|Drama\n8::"Odd" one (1996)::Drama\n')
    card = prepare([tmp_path / "ratings.dat", tmp_path / "movies.dat"], tmp_path / "out")
    assert card["items"]["described"] == 2


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        pytest.param('sep=;\nuser;item;rating;text\nu;i;1;"a;b"\n', ["a;b"], id="Excel's line"),
        pytest.param('"sep=,"\r\nuser,item,rating,text\r\nu,i,1,a\r\n', ["a"], id="Excel's line in quotes"),
        pytest.param(",user,item,rating,text\n0,u,i,1,a\n1,u,j,2,b\n", ["a", "b"], id="index of pandas"),
        pytest.param("user,item,rating,text\n1,u,i,1,a\n2,u,j,2,b\n", ["a", "b"], id="row numbers of R"),
        pytest.param("user,item,rating,text\nu,i,1,a,\nu,j,2,b,\n", ["a", "b"], id="separator at the end"),
        pytest.param("user,item,rating,text\nu,i,1,a\n\n", ["a"], id="blank line at the end"),
        pytest.param("user,item,rating,text\r\nu,i,1,a\r\n \r\n\r\nu,j,1,b\r\n", ["a", "b"], id="blank lines"),
        pytest.param(
            'user,item,rating,text\nu,i,1,"say \\"hi\\", ok"\nu,j,1,"b"\n', ['say "hi", ok', "b"], id="escaped"
        ),
        pytest.param('user,item,rating,text\nu,i,1,"a\\\\b \\"c\\"\nd"\n', ['a\\b "c" d'], id="escaped over lines"),
        pytest.param('user,item,rating,text\nu,i,1,"C:\\"\nu,j,1,"b, c"\n', ["C:\\", "b, c"], id="not escaped"),
        pytest.param('user,item,rating,text\nu,i,1,"a ""b"", c\\"\n', ['a "b", c\\'], id="doubled"),
    ],
)
def test_csv_quirks(tmp_path: Path, content: str, texts: list[str]) -> None:
    (tmp_path / "r.csv").write_bytes(content.encode())
    assert [row[3] for row in read(tmp_path / "r.csv")[0]] == texts


def test_header_over_64_kib_is_read(tmp_path: Path) -> None:
    more = [f"column_{n}" for n in range(6000)]
    frame = pl.DataFrame({**{name: [0] for name in more}, "user": ["u"], "item": ["i"], "rating": [1], "text": ["a"]})
    frame.write_csv(tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_bytes().find(b"\n") > 1 << 16
    assert read(tmp_path / "r.csv")[0] == [("u", "i", 1.0, "a")]
    frame.rename({"user": "x"}).write_csv(tmp_path / "r.csv")
    with pytest.raises(DataError, match="no column that could be the user") as told:
        read(tmp_path / "r.csv")
    assert len(str(told.value)) < 2000


@pytest.mark.parametrize("line", ['u,i,5,x","', 'u,i,5,"x', 'u,i,5,"a","b"c,"'])
def test_quotes_that_do_not_close_take_linear_time(tmp_path: Path, line: str) -> None:
    (tmp_path / "r.csv").write_text("user,item,rating,text,more\n" + f"{line}\n" * 30_000)
    start = time.monotonic()
    reader = open_rows(tmp_path / "r.csv", BadLines(10**6))
    assert sum(batch.height for batch in reader.batches(["user"])) >= 0
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("name", ["line", "*", "^.*$", "^user$", "a.b", "$", "'", "text\\n"])
def test_column_names_are_data(tmp_path: Path, name: str) -> None:
    rows = [{"user": "u", "item": "i", "rating": 1, name: f"text {n}"} for n in range(3)]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pl.DataFrame(rows).write_csv(tmp_path / "r.csv")
    pl.DataFrame(rows).write_parquet(tmp_path / "r.parquet")
    for file in ("r.jsonl", "r.csv", "r.parquet"):
        found = read(tmp_path / file, columns={"text": name})[0]
        assert [row[3] for row in found] == [row[name] for row in rows], file


def test_messages_are_printable_and_short(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes(b"user,item,rating\na,b," + b"x\x00\x1b[31m" * 9000 + b"\n")
    with pytest.raises(DataError) as told:
        prepare([tmp_path / "r.csv"], tmp_path / "out", PrepareOptions())
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 1000
