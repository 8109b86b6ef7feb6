"""A file gives the same reviews in every encoding, container and format, and what was guessed is said."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import itertools
import json
import lzma
import os
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.readers import containers
from gavamoe.data.readers.open import ReadOptions, open_rows, read_reviews
from gavamoe.data.readers.reading import Reading
from gavamoe.data.readers.rows import BadLines
from gavamoe.errors import DataError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXTS = {
    "latin": ["Très bonne soupe, déjà vu", "Schöne Zimmer für uns", "El baño está limpio", "plain words only"],
    "curly": ["It\u2019s a lovely caf\u00e9", "\u201cfine\u201d, she said", "na\u00efve staff", "plain words only"],
    "simplified": ["房间很干净，早餐不错", "服务态度差", "价格便宜", "很喜欢"],
    "traditional": ["房間很乾淨，早餐不錯", "服務態度差", "價格便宜", "很喜歡"],
    "japanese": ["部屋がきれいでした", "朝食が美味しい", "最高です", "また行きたい"],
    "korean": ["방이 깨끗해요", "아침이 맛있어요", "가격이 비싸요", "최고입니다"],
}
ENCODINGS = [
    ("utf-8", "simplified"),
    ("utf-8-sig", "latin"),
    ("utf-16", "japanese"),
    ("utf-16-le", "curly"),
    ("utf-16-be", "latin"),
    ("utf-32", "korean"),
    ("windows-1252", "curly"),
    ("latin-1", "latin"),
    ("gbk", "simplified"),
    ("gb18030", "simplified"),
    ("big5", "traditional"),
    ("shift_jis", "japanese"),
    ("euc_kr", "korean"),
]


def rows(kind: str) -> list[dict]:
    return [
        {"user": f"u{n % 7}", "item": f"i{n % 5}", "rating": 1 + n % 5, "text": text}
        for n, text in enumerate(TEXTS[kind] * 6)
    ]


def as_csv(records: list[dict], separator: str = ",", end: str = "\n") -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(records[0]), delimiter=separator, lineterminator=end)
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


def as_lines(records: list[dict]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def as_array(records: list[dict]) -> str:
    return json.dumps(records, ensure_ascii=False, indent=1)


def in_zip(data: bytes, name: str = "folder/reviews.data") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/folder/._reviews.data", b"\x00\x05\x16\x07")
        archive.writestr("README.md", "about")
        archive.writestr(name, data)
    return file.getvalue()


def in_tar(data: bytes, name: str = "folder/reviews.data") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
    "zip": in_zip,
    "tar": in_tar,
    "tar.gz": lambda data: gzip.compress(in_tar(data)),
    "tar in tar": lambda data: in_tar(in_tar(data), "inner.tar"),
    "gzip in zip": lambda data: in_zip(gzip.compress(data), "r.csv.gz"),
}
FORMATS = {"csv": as_csv, "tsv": lambda records: as_csv(records, "\t"), "json lines": as_lines, "array": as_array}


def read(path: Path, **options: str) -> tuple[list[str], list[Reading]]:
    readings: list[Reading] = []
    frame = read_reviews(path, ReadOptions(**options), lambda _, reading: readings.append(reading))  # type: ignore[arg-type]
    return frame["text"].to_list(), readings


@pytest.mark.parametrize(("encoding", "kind"), ENCODINGS, ids=[f"{name}-{kind}" for name, kind in ENCODINGS])
@pytest.mark.parametrize("format", FORMATS)
def test_texts_are_equal_in_every_encoding_and_container(tmp_path: Path, encoding: str, kind: str, format: str) -> None:
    records = rows(kind)
    data = FORMATS[format](records).encode(encoding)
    expected = [record["text"] for record in records]
    for number, pack in enumerate(CONTAINERS.values()):
        (tmp_path / f"r{number}").write_bytes(pack(data))
        texts, readings = read(tmp_path / f"r{number}")
        assert texts == expected
        is_utf8 = encoding in ("utf-8", "utf-8-sig")
        assert (readings[0].encoding == "utf-8") == is_utf8
        assert any("read as" in line for line in readings[0].describe()) != is_utf8
        named = encoding.removesuffix("-sig")
        assert read(tmp_path / f"r{number}", encoding=named)[0] == expected


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"], ids=["CR", "CRLF", "LF"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "windows-1252", "gbk"])
@pytest.mark.parametrize("chunk_bytes", [40, 16 << 20])
def test_texts_are_equal_with_every_line_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, encoding: str, chunk_bytes: int
) -> None:
    monkeypatch.setattr("gavamoe.data.readers.lines.CHUNK_BYTES", chunk_bytes)
    records = rows("simplified" if encoding == "gbk" else "curly")
    for name, text in (("r.csv", as_csv(records, end=end)), ("r.jsonl", as_lines(records).replace("\n", end))):
        (tmp_path / name).write_bytes(text.encode(encoding))
        assert read(tmp_path / name)[0] == [record["text"] for record in records]


def test_mixed_line_ends_give_all_records(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(b"user,item,rating,text\nu1,i1,1,one\r\nu2,i2,2,two\ru3,i3,3,three\nu4,i4,4,four\r")
    assert read(path)[0] == ["one", "two", "three", "four"]


def test_guess_is_printed_and_kept_in_the_card(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(as_csv(rows("simplified")).encode("gbk"))
    reading = prepare([path], tmp_path / "out")["sources"][0]["reading"]
    assert (reading["format"], reading["encoding"], reading["encoding_from"]) == ("csv", "gbk", "guessed")
    assert reading["said"] == ["read as gbk (guessed; --encoding says otherwise)"]


@pytest.mark.parametrize("late", [50, 200_000], ids=["early", "late"])
@pytest.mark.parametrize("format", [as_csv, as_lines, as_array])
def test_few_accents_anywhere_in_an_ascii_file_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: int, format: Callable[[list[dict]], str]
) -> None:
    monkeypatch.setattr("gavamoe.data.readers.lines.CHUNK_BYTES", 10_000)
    count = late // 40
    records = [{"user": "u", "item": f"i{n}", "rating": 1 + n % 5, "text": f"plain text {n}"} for n in range(count)]
    records += [{"user": "u", "item": "last", "rating": 5, "text": "It\u2019s a lovely café"}]
    path = tmp_path / "r"
    path.write_bytes(format(records).encode("windows-1252"))
    texts, readings = read(path)
    assert texts == [record["text"] for record in records]
    assert (readings[0].encoding, readings[0].encoding_from) == ("windows-1252", "guessed")


def test_five_star_reviews_are_not_lost_by_following_the_advice(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(b"user,item,rating,text\n" + b"u1,i1,2,\xc3\xa9t\xc3\xa9\n" * 3 + b"u2,i2,5,caf\xe9\n")
    with pytest.raises(
        DataError, match=r"line 5: not UTF-8 text at byte 12 .*; name its encoding with --encoding"
    ) as told:
        prepare([path], tmp_path / "out")
    assert "--skip-bad" not in str(told.value)


@pytest.mark.parametrize("name", ["no-such", "base64", "rot13", "idna", "", "\x00"])
def test_unknown_encoding_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "r.csv").write_text(as_csv(rows("latin")))
    with pytest.raises(DataError, match=r"encoding .* name one"):
        read(tmp_path / "r.csv", encoding=name)


def test_text_that_is_not_in_the_named_encoding_is_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(as_csv(rows("latin")).encode("latin-1"))
    with pytest.raises(DataError, match=r"line 2: not shift_jis text .*--encoding"):
        read(path, encoding="shift_jis")
    path.write_bytes(as_csv(rows("latin")).encode("utf-16-le")[:-1])
    with pytest.raises(DataError, match=r"not utf-16-le text.*--encoding"):
        read(path)


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"%PDF-1.7\n", "is a PDF"),
        (b"SQLite format 3\x00", "is an SQLite database"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office file"),
        (b"7z\xbc\xaf\x27\x1c", "7z archive"),
        (b"Rar!\x1a\x07", "RAR archive"),
        (b"ARROW1\x00\x00", "Arrow"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"<?xml version='1.0'?>", "XML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"what\x00\x01\x02", "not text"),
    ],
)
def test_other_files_are_named_with_a_way_out(tmp_path: Path, start: bytes, what: str) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(start + b"\x00\x01" * 40_000)
    with pytest.raises(DataError, match=what) as told:
        read(path)
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 500


def test_archive_gives_its_tables_of_reviews_and_names_the_others(tmp_path: Path) -> None:
    file = tmp_path / "all.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("set/reviews-1.csv", as_csv(rows("latin")[:12]))
        archive.writestr("set/reviews-2.csv", as_csv(rows("latin")[12:]))
        archive.writestr("set/items.csv", "item,title\ni1,One\ni2,Two\n")
        archive.writestr("set/users.csv", "user,age\nu1,3\n")
        archive.writestr("set/ratings.csv", "user,item,rating\nu1,i1,3\n")
        archive.writestr("set/empty.csv", "")
    card = prepare([file], tmp_path / "out")
    assert card["reading"]["rows"] == 24
    assert [source["name"] for source in card["sources"]] == ["reviews-1.csv", "reviews-2.csv"]
    assert card["sources"][0]["reading"]["passed_over"] == ["set/users.csv", "set/ratings.csv"]
    assert card["items"]["described"] == 2
    assert len(read(file / "set/reviews-2.csv")[0]) == 12
    assert len(read(file / "set/ratings.csv")[0]) == 1
    with pytest.raises(DataError, match=r"no member absent.csv; it has set/reviews-1.csv"):
        read(file / "absent.csv")
    with pytest.raises(DataError, match=r"has 5 tables .*name one, for example .*all.zip/set/reviews-1.csv"):
        open_rows(file, BadLines())
    (tmp_path / "r.csv").write_text(as_csv(rows("latin")))
    with pytest.raises(DataError, match="is a file and no archive"):
        read(tmp_path / "r.csv/inner.csv")


@pytest.mark.parametrize("name", ["../../escaped.csv", "/escaped.csv", "..\\escaped.csv"])
@pytest.mark.parametrize("pack", [in_zip, in_tar])
def test_member_names_lead_nowhere_outside(tmp_path: Path, name: str, pack: Callable[[bytes, str], bytes]) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "r.archive").write_bytes(pack(as_csv(rows("latin")).encode(), name))
    before = sorted(tmp_path.rglob("*"))
    reader = open_rows(folder / "r.archive", BadLines())
    assert folder / "r.archive" in reader.path.parents
    assert ".." not in reader.path.parts
    assert len(read(reader.path)[0]) == 24
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("pack", ["gzip", "bzip2", "xz", "zstd", "zip", "tar.gz"])
def test_bomb_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: str) -> None:
    monkeypatch.setattr(containers, "BOMB_BYTES", 1 << 20)
    monkeypatch.setattr("gavamoe.data.readers.lines.CHUNK_BYTES", 1 << 16)
    data = b"user,item,rating,text\n" + b"u1,i1,3,fine\n" * 400_000
    (tmp_path / "r").write_bytes(CONTAINERS[pack](data))
    with pytest.raises(DataError, match="zip bomb"):
        read(tmp_path / "r")


def test_encrypted_nested_and_damaged_archives_are_data_errors(tmp_path: Path) -> None:
    whole = in_zip(as_csv(rows("latin")).encode())
    (tmp_path / "deep.zip").write_bytes(in_zip(in_zip(in_zip(in_zip(whole, "d.zip"), "c.zip"), "b.zip"), "a.zip"))
    encrypted = bytearray(whole)
    for at in (whole.rfind(b"PK\x03\x04") + 6, whole.rfind(b"PK\x01\x02") + 8):
        encrypted[at] |= 1
    (tmp_path / "encrypted.zip").write_bytes(encrypted)
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(in_tar(os.urandom(5000)))[:3000])
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(DataError) as told:
            read(path)
        assert str(told.value).isprintable(), path


def test_pipe_is_read_whole(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    records = rows("latin") * 2000
    data = gzip.compress(as_lines(records).encode("utf-16"))
    writer = threading.Thread(target=lambda: pipe.write_bytes(data))
    writer.start()
    card = prepare([pipe], tmp_path / "out")
    writer.join()
    assert card["reading"]["rows"] == len(records)
    assert len(card["sources"][0]["sha256"]) == 64


def test_spark_directory_gives_its_parts(tmp_path: Path) -> None:
    records = rows("latin")
    for kind, number in itertools.product(("csv", "json", "parquet"), range(3)):
        folder = tmp_path / kind
        folder.mkdir(exist_ok=True)
        (folder / "_SUCCESS").touch()
        (folder / f".part-0000{number}.{kind}.crc").write_bytes(b"crc\x00")
        part, file = records[number::3], folder / f"part-0000{number}-c000.snappy.{kind}"
        if kind == "parquet":
            pl.DataFrame(part).write_parquet(file)
        else:
            file.write_text(as_csv(part) if kind == "csv" else as_lines(part), encoding="utf-8")
    for kind in ("csv", "json", "parquet"):
        assert prepare([tmp_path / kind], tmp_path / "out")["reading"]["rows"] == 24
    (tmp_path / "csv" / "day=1").mkdir()
    (tmp_path / "csv" / "day=1" / "part-0.csv").write_text(as_csv(records))
    with pytest.raises(DataError, match="partitioned by a column \\(day=1\\)"):
        prepare([tmp_path / "csv"], tmp_path / "out")


def test_workbook_gives_its_sheet_of_reviews(tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    cells = [
        ["user", "item", "rating", "text"],
        ["u1", "7", 4.0, "fine & good"],
        ["", "", "", ""],
        ["u2", "8", 3.5, "so"],
    ]
    (tmp_path / "r.xlsx").write_bytes(workbook({"About": [["read me"]], "Reviews": cells}))
    assert read_reviews(tmp_path / "r.xlsx").rows() == [("u1", "7", 4.0, "fine & good"), ("u2", "8", 3.5, "so")]
    (tmp_path / "r.zip").write_bytes(in_zip((tmp_path / "r.xlsx").read_bytes(), "r.xlsx"))
    assert read_reviews(tmp_path / "r.zip").height == 2
    (tmp_path / "two.xlsx").write_bytes(workbook({"Reviews": cells, "Items": [["item", "title"], ["7", "Seven"]]}))
    card = prepare([tmp_path / "two.xlsx"], tmp_path / "out")
    assert (card["reading"]["rows"], card["items"]["described"]) == (2, 1)
    assert read_reviews(tmp_path / "two.xlsx/Reviews").height == 2


def test_workbook_without_its_reader_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    (tmp_path / "r.xlsx").write_bytes(workbook({"S": [["user"]]}))
    with pytest.raises(DataError, match=r"Excel workbook: install its reader with pip install 'gavamoe\[excel\]'"):
        read(tmp_path / "r.xlsx")


def workbook(sheets: dict[str, list[list]]) -> bytes:
    """Write a minimal xlsx with inline strings."""
    file = io.BytesIO()
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    kinds = "http://schemas.openxmlformats.org/package/2006"
    with zipfile.ZipFile(file, "w") as archive:
        names = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>' for n, name in enumerate(sheets, 1))
        archive.writestr(
            "xl/workbook.xml", f'<workbook {main} xmlns:r="{relations}"><sheets>{names}</sheets></workbook>'
        )
        links = "".join(
            f'<Relationship Id="rId{n}" Type="{relations}/worksheet" Target="worksheets/sheet{n}.xml"/>'
            for n in range(1, len(sheets) + 1)
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{kinds}/relationships">{links}</Relationships>'
        )
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{kinds}/content-types"></Types>')
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{kinds}/relationships"><Relationship Id="rId1" Type="{relations}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        for n, cells in enumerate(sheets.values(), 1):
            body = "".join(
                f'<row r="{r}">' + "".join(cell(f"{chr(65 + c)}{r}", value) for c, value in enumerate(row)) + "</row>"
                for r, row in enumerate(cells, 1)
            )
            archive.writestr(
                f"xl/worksheets/sheet{n}.xml", f"<worksheet {main}><sheetData>{body}</sheetData></worksheet>"
            )
    return file.getvalue()


def cell(at: str, value: object) -> str:
    if isinstance(value, float):
        return f'<c r="{at}"><v>{value}</v></c>'
    text = str(value).replace("&", "&amp;")
    return f'<c r="{at}" t="inlineStr"><is><t>{text}</t></is></c>' if value != "" else ""


def test_byte_order_marks_are_no_part_of_the_first_name(tmp_path: Path) -> None:
    for mark, encoding in ((codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF32_LE, "utf-32-le")):
        for text in (as_csv(rows("latin")), as_array(rows("latin")), as_lines(rows("latin"))):
            (tmp_path / "r").write_bytes(mark + text.encode(encoding))
            assert open_rows(tmp_path / "r", BadLines()).columns == ["user", "item", "rating", "text"]
    assert (
        prepare([tmp_path / "r"], tmp_path / "out", PrepareOptions())["sources"][0]["reading"]["encoding_from"]
        == "mark"
    )
