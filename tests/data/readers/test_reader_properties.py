"""For any file content, a reader returns reviews or raises a one-line DataError, never another exception."""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import tarfile
import tempfile
import time
import unicodedata
import zipfile
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gavamoe.data.readers.canonical import REVIEW_SCHEMA
from gavamoe.data.readers.open import read_reviews
from gavamoe.data.readers.placeholders import is_nobody
from gavamoe.errors import DataError

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
BEGINNINGS = [
    b"\xff\xfeu\x00s\x00e\x00r\x00,\x00",
    b"\xff\xfe\x00\x00{\x00\x00\x00",
    b"sep=;\nuser;item;rating\n",
    b"{u'user': u'a', 'item': ",
    b"[{'user': 'a', 'item': 'b', 'rating': 3}, ",
    b'{"reviews": [{"user": "a", "item": "b", "rating": 3}, ',
    b'{"user": {"0": "a"}, "item": {"0": ',
    b"review/userId: a\nproduct/productId: b\nreview/score: 3\n\nreview/",
    b"-- MySQL dump\nINSERT INTO `r` (`user`, `item`, `rating`) VALUES (1,2,3),(",
    b"1::2::3::978300760\n",
    b"PK\x03\x04",
    b"BZh91AY&SY",
    b"\xfd7zXZ\x00",
    b"\xd0\xcf\x11\xe0",
    b"reviews.csv".ljust(257, b"\0") + b"ustar\x0000",
    b"",
    b'{"user": "a", "item": "b", "rating": 3}\n',
    b'{"user": "a", "item": "b", "rating": 3, "author": {"id": 1}}\n{"user": ',
    b"user,item,rating,text,timestamp,split\n",
    b'user\titem\trating\ttext\na\tb\t3\t"',
    b"\x80\x04\x95",
    b"\x80\x04]\x94}\x94(",
    b"PAR1",
    b"\x1f\x8b\x08\x00",
    b"\x28\xb5\x2f\xfd",
    gzip.compress(b'{"user": "a", "item": "b", "rating": 3}\n')[:-8],
]


def _archives() -> dict[str, bytes]:
    """Return small archives of one file of reviews."""
    content = b"user,item,rating,text\n" + b"a,b,3,fine\n" * 20
    packed, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("r.csv", content)
    with tarfile.open(fileobj=tarred, mode="w") as tar:
        entry = tarfile.TarInfo("r.csv")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    sheet = io.BytesIO()
    with zipfile.ZipFile(sheet, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", '<workbook><sheets><sheet name="S" sheetId="1"/></sheets></workbook>')
    return {
        "zip": packed.getvalue(),
        "tar": tarred.getvalue(),
        "tar.gz": gzip.compress(tarred.getvalue()),
        "xlsx": sheet.getvalue(),
    }


ARCHIVES = _archives()


def read(name: str, content: bytes) -> pl.DataFrame | None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / name
        path.write_bytes(content)
        try:
            frame = read_reviews(path)
        except DataError as error:
            message = str(error)
            frame = None
    if frame is None:
        assert "\n" not in message
        assert str(path) in message
        return None
    assert frame.height > 0
    assert all(frame.schema[name] == REVIEW_SCHEMA[name] for name in frame.columns)
    assert frame.select(pl.col("user", "item", "rating", "text").null_count()).sum_horizontal().item() == 0
    return frame


@QUICK
@given(st.sampled_from(BEGINNINGS), st.binary(max_size=300), st.sampled_from(["r.jsonl", "r.csv", "r.pickle", "r"]))
def test_random_bytes_give_reviews_or_a_data_error(beginning: bytes, rest: bytes, name: str) -> None:
    read(name, beginning + rest)


@QUICK
@given(
    st.sampled_from(["zip", "tar", "tar.gz", "xlsx"]), st.binary(max_size=40), st.integers(0, 3000), st.integers(0, 400)
)
def test_damaged_archives_give_reviews_or_a_data_error(kind: str, noise: bytes, start: int, length: int) -> None:
    whole = ARCHIVES[kind]
    read("r.archive", whole[:start] + noise + whole[start + length :])


@QUICK
@given(st.text(max_size=60), st.sampled_from(["utf-16", "utf-8", "gb18030", "utf-32-be"]), st.sampled_from(BEGINNINGS))
def test_random_texts_give_reviews_or_a_data_error(text: str, encoding: str, beginning: bytes) -> None:
    started = time.monotonic()
    read("r", (beginning.decode("latin-1") + text).encode(encoding, "ignore"))
    assert time.monotonic() - started < 10


@QUICK
@given(st.binary(max_size=80), st.integers(0, 2000), st.integers(0, 2000))
def test_damaged_parquet_gives_reviews_or_a_data_error(noise: bytes, start: int, length: int) -> None:
    buffer = io.BytesIO()
    pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "rating": [1.0, 2.0], "text": ["t", None]}).write_parquet(
        buffer
    )
    whole = buffer.getvalue()
    read("r.parquet", whole[:start] + noise + whole[start + length :])


VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
)
NAMES = st.sampled_from(
    ["user", "item", "rating", "text", "timestamp", "split", "feature", "other", "reviewerID", "stars"]
)
RECORDS = st.lists(st.dictionaries(NAMES, VALUES, max_size=8), max_size=6)
MOSTLY_GOOD = st.lists(
    st.fixed_dictionaries(
        {
            "user": st.text(max_size=4) | st.integers(),
            "item": st.text(max_size=4),
            "rating": st.sampled_from([1, 2.5, "3", "x"]),
        },
        optional={
            "text": st.text(),
            "timestamp": VALUES,
            "split": st.sampled_from(["train", "dev", "?"]),
            "feature": VALUES,
        },
    ),
    max_size=6,
)


@QUICK
@given(RECORDS | MOSTLY_GOOD)
def test_random_json_lines_give_reviews_or_a_data_error(records: list[dict]) -> None:
    read("r.jsonl", "\n".join(json.dumps(record) for record in records).encode())


@QUICK
@given(RECORDS | MOSTLY_GOOD)
def test_random_pickles_give_reviews_or_a_data_error(records: list[dict]) -> None:
    read("r.pickle", pickle.dumps(records))


@QUICK
@given(
    st.lists(NAMES, max_size=5),
    st.lists(st.lists(st.text(max_size=6), max_size=6), max_size=6),
    st.sampled_from(",\t;"),
)
def test_random_csv_gives_reviews_or_a_data_error(header: list[str], rows: list[list[str]], separator: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator)
    writer.writerows([["user", "item", "rating", *header], *rows])
    read("r.csv", text.getvalue().encode("utf-8", "surrogatepass"))


NAME = (
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=6)
    .map(lambda name: unicodedata.normalize("NFC", name))  # names are compared composed
    .filter(lambda name: not is_nobody(pl.Series([name])).item())
)
REVIEWS = st.lists(
    st.tuples(NAME, NAME, st.integers(1, 5), st.sampled_from(["fine film", 'a "b", c', "é; ü\tx"])), min_size=1
)


@settings(QUICK, max_examples=50)
@given(REVIEWS)
def test_valid_reviews_are_equal_from_every_file_format(rows: list[tuple]) -> None:
    frame = pl.DataFrame(rows, schema=["user", "item", "rating", "text"], orient="row")
    parquet, delimited = io.BytesIO(), io.BytesIO()
    frame.write_parquet(parquet)
    frame.write_csv(delimited)
    files = {
        "r.jsonl": frame.write_ndjson().encode(),
        "r.csv": delimited.getvalue(),
        "r.parquet": parquet.getvalue(),
        "r.pickle": pickle.dumps(frame.to_dicts()),
    }
    expected = frame.with_columns(pl.col("rating").cast(pl.Float32), pl.col("text").str.replace("\t", " "))
    for name, content in files.items():
        found = read(name, content)
        assert found is not None
        assert found.equals(expected), name
