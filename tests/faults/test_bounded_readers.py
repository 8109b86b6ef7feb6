"""Hostile files are read or refused within a few seconds and a few hundred megabytes, and never crash a reader."""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from helpers.bounded import read_bounded

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork, /proc and RLIMIT_AS")

REVIEWS: list[dict[str, Any]] = [
    {"user": f"u{user}", "item": f"i{item}", "rating": 1 + (user + item) % 5, "text": f"a fine story {user}"}
    for user in range(12)
    for item in range(10)
]


def zipped(members: dict[str, bytes]) -> bytes:
    """Return a zip archive of members by name."""
    packed_file = io.BytesIO()
    with zipfile.ZipFile(packed_file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed_file.getvalue()


def as_csv(rows: list[dict[str, Any]], separator: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_lines(rows: list[Any], write: Callable[[Any], str] = json.dumps) -> bytes:
    return "\n".join(map(write, rows)).encode()


def packed(opcodes: bytes) -> bytes:
    return b"\x80\x04" + opcodes + b"."


def nested(part: Any, times: int, pair: Callable[[Any, Any], Any]) -> Any:
    for _ in range(times):
        part = pair(part, part)
    return part


# --- bombs: small files that ask for much ---

DOUBLED_TUPLE = b"\x8c\x01a\x85" + b"2\x86" * 60  # ('a',), then 60 times: a pair of the same tuple
LONG_TEXT = b"\x8d" + (1 << 20).to_bytes(8, "little") + b"x" * (1 << 20) + b"\x94"
WIDE = [f"column_{number:06d}" for number in range(5000)]
WIDE_CSV = as_csv([{**dict.fromkeys(WIDE, "x"), **row} for row in REVIEWS])
PADDED = {"padding": "a great story " * 100_000, **REVIEWS[0]}

REFUSED = {
    "memo.pickle": b"\x80\x04Nr\xff\xff\xff\x3f0.",  # 9 bytes, 8.4 GB of memo in the unpickler written in C
    "bytearray.pickle": packed(b"\x96" + (8 << 30).to_bytes(8, "little") + b"x"),
    "bytes.pickle": packed(b"\x8e" + (8 << 30).to_bytes(8, "little") + b"x"),
    "frame.pickle": packed(b"\x95" + (8 << 30).to_bytes(8, "little") + b"N"),
    "text.pickle": pickle.dumps([{**row, "text": nested(["a"], 40, lambda a, b: [a, b])} for row in REVIEWS[:3]]),
    "tuple.pickle": pickle.dumps([{**row, "text": nested(("a",), 40, lambda a, b: (a, b))} for row in REVIEWS[:3]]),
    "deep.pickle": packed(b"]}(\x8c\x04user" + b"]" * 50_000 + b"a" * 49_999 + b"ua"),
    "key.pickle": packed(b"]}" + DOUBLED_TUPLE + b"Nsa"),
    "set.pickle": packed(b"\x8f(" + DOUBLED_TUPLE + b"\x90"),
    "frozenset.pickle": packed(b"(" + DOUBLED_TUPLE + b"\x91"),
    "called-set.pickle": packed(b"cbuiltins\nset\n]" + DOUBLED_TUPLE + b"a\x85R"),
    "same-hash.pickle": pickle.dumps([{number * ((1 << 61) - 1): 1 for number in range(1, 60_000)}]),
    "copies.pickle": packed(LONG_TEXT + b"0c_codecs\nencode\n\x94](" + b"h\x01h\x00\x8c\x05utf-8\x86R" * 50_000 + b"e"),
    "repeated-text.pickle": packed(
        LONG_TEXT + b"0](" + b"}(\x8c\x04userh\x00\x8c\x04itemh\x00\x8c\x06ratingK\x01u" * 50_000 + b"e"
    ),
    "repeated-record.pickle": packed(
        b"}\x94(" + b"".join(b"\x8c\x05%05dN" % n for n in range(20_000)) + b"u0](" + b"h\x00" * 100_000 + b"e"
    ),
    "sparse.pickle": pickle.dumps([{f"field {number}": 1} for number in range(50_000)]),
    "state.pickle": packed(b"c_codecs\nencode\n}\x8c\x01aNsb"),
}
READ = {
    "open-quotes.csv": b"user,item,rating,text\n" + b'u,i,5,x","\n' * 200_000,
    "blank-end.csv": as_csv(REVIEWS) + b"\n",
    "blank-end-crlf.csv": as_csv(REVIEWS).replace(b"\n", b"\r\n") + b"\r\n",
    "blanks-end.csv": as_csv(REVIEWS) + b"   \n\n",
    "blank-end.jsonl": as_lines(REVIEWS) + b"\n\n",
    "blanks-end.jsonl": as_lines(REVIEWS) + b"\n \r\n\n",
    "long-first-line.jsonl": as_lines([PADDED, *REVIEWS[1:]]),
    "long-first-dict.jsonl": as_lines([PADDED, *REVIEWS[1:]], repr),
    "long-first.json": json.dumps([PADDED, *REVIEWS[1:]]).encode(),
    "mark.json": b"\xef\xbb\xbf" + json.dumps(REVIEWS).encode(),
    "two-marks.json": b"\xef\xbb\xbf" * 2 + json.dumps(REVIEWS).encode(),
    "mark-16.json": json.dumps(REVIEWS).encode("utf-16"),
    "mark.json.gz": gzip.compress(b"\xef\xbb\xbf" + json.dumps(REVIEWS).encode()),
    "nameless-member.zip": zipped({"Q.csv": b"x", "r.csv": as_csv(REVIEWS)}).replace(b"Q.csv", b"\0.csv"),
    "wide.csv": WIDE_CSV,
    "wide-crlf.csv": WIDE_CSV.replace(b"\n", b"\r\n"),
    "wide-cr.csv": WIDE_CSV.replace(b"\n", b"\r"),
    "long-name.csv": as_csv([{"y" * 70_000: "x", **row} for row in REVIEWS]),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bombs")
    files = {name: folder / name for name in (*REFUSED, *READ)}
    for name, path in files.items():
        path.write_bytes({**REFUSED, **READ}[name])
    return dict(zip(files, read_bounded(list(files.values()), seconds=60, megabytes=1500), strict=True))


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_asks_for_far_more_than_its_size_is_refused_in_one_line(outcomes, name):
    assert outcomes[name].startswith("error: ")
    assert name in outcomes[name]
    assert "\n" not in outcomes[name]


@pytest.mark.parametrize("name", READ)
def test_an_odd_file_of_reviews_is_read(outcomes, name):
    assert outcomes[name] == "table"


# --- fuzz: files of every format, damaged at random ---


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(rows).write_parquet(file)
    return file.getvalue()


def _sql(rows: list[dict[str, Any]]) -> bytes:
    values = ",".join("({!r},{!r},{},{!r})".format(*row.values()) for row in rows)
    return f"-- MySQL dump\nINSERT INTO `r` (`user`, `item`, `rating`, `text`) VALUES {values};\n".encode()


def _key_values(rows: list[dict[str, Any]]) -> bytes:
    names = {"user": "review/userId", "item": "product/productId", "rating": "review/score", "text": "review/text"}
    records = ("\n".join(f"{names[key]}: {value}" for key, value in row.items()) for row in rows)
    return "\n\n".join(records).encode()


WHOLE = {
    "r.csv": as_csv(REVIEWS),
    "r.tsv": as_csv(REVIEWS, "\t"),
    "r.jsonl": as_lines(REVIEWS),
    "dicts.jsonl": as_lines(REVIEWS, repr),
    "r.json": json.dumps(REVIEWS, indent=1).encode(),
    "document.json": json.dumps({"a": {"reviews": REVIEWS}, "n": 3}).encode(),
    "columns.json": json.dumps(pl.DataFrame(REVIEWS).to_dict(as_series=False)).encode(),
    "utf-16.csv": as_csv(REVIEWS).decode().encode("utf-16"),
    "ratings.dat": "\n".join(f"{n}::{n % 7}::{1 + n % 5}::{978300760 + n}" for n in range(99)).encode(),
    "r.txt": _key_values(REVIEWS),
    "r.sql": _sql(REVIEWS),
    "r2.pickle": pickle.dumps(REVIEWS, 2),
    "r.pickle": pickle.dumps(REVIEWS),
    "r.parquet": _parquet(REVIEWS),
    "r.jsonl.gz": gzip.compress(as_lines(REVIEWS)),
    "r.zip": zipped({"r.csv": as_csv(REVIEWS)}),
}
PIECES = [
    b'"',
    b"'",
    b"\\",
    b"\x00",
    b"\xff",
    b"\n",
    b"\r",
    b",",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"2\x86",
    b"\xef\xbb\xbf",
]
PIECES += [b"(", b"\x94", b"h\x00", b"nan", b"-1", b"9" * 30, b'","', b"\\u0000", b"\xf0\x9f\x98\x80", b"--", b"`"]


def damaged(content: bytes, dice: random.Random) -> bytes:
    """Return a content with one to four changes: bytes set, cut, doubled, or a piece put in, perhaps many times."""
    for _ in range(dice.randint(1, 4)):
        start = dice.randrange(len(content) + 1)
        end = min(len(content), start + dice.choice([1, 1, 8, 200, 5000]))
        old, piece = content[start:end], dice.choice(PIECES)
        repeated = piece * dice.choice([1, 3, 50, 20_000])
        part = dice.choice([bytes([dice.randrange(256)]) * len(old), b"", old * 2, old + piece, repeated])
        content = content[:start] + part + content[end:]
    return content


def fuzz(name: str, trials: int, folder: Path) -> list[str]:
    """Return the outcomes of damaged files that are neither a table nor one line that names the file."""
    dice = random.Random(f"{name} of 25")
    files = []
    for number in range(trials):
        path = folder / f"{number}-{name}"
        path.write_bytes(damaged(WHOLE[name], dice))
        files.append(path)
    found = zip(files, read_bounded(files, seconds=30, megabytes=1500), strict=True)
    good = ("table", "error: ")
    return [
        f"{file.name}: {outcome[:300]}"
        for file, outcome in found
        if not outcome.startswith(good) or (outcome != "table" and (file.name not in outcome or "\n" in outcome))
    ]


@pytest.mark.parametrize("name", WHOLE)
def test_damaged_files_are_read_or_refused_within_bounds(name, tmp_path):
    assert fuzz(name, 15, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_many_damaged_files_are_read_or_refused_within_bounds(name, tmp_path):
    assert fuzz(name, 60, tmp_path) == []
