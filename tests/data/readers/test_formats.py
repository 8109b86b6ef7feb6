"""Each format is read from files as the source publishes them."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.readers.open import ReadOptions, read_reviews
from gavamoe.errors import DataError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

AMAZON_2018 = {"reviewerID": "A1", "asin": "B1", "overall": 4.0, "reviewText": "fine", "unixReviewTime": 1529193600}
AMAZON_2023 = {"user_id": "A1", "asin": "B0", "parent_asin": "B1", "rating": 4.0, "text": "fine", "title": "t"}
YELP = {"review_id": "r", "user_id": "A1", "business_id": "B1", "stars": 4.0, "text": "fine", "useful": 0}
HOTELREC = {"hotel_url": "B1", "author": "A1", "date": "2018-06-17T00:00:00", "rating": 4.0, "text": "fine"}
OFFERINGS = {
    "ratings": {"service": 5.0, "overall": 4.0},
    "text": "fine",
    "author": {"username": "Jo", "id": "A1"},
    "offering_id": "B1",
    "date": "June 17, 2018",
}


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(AMAZON_2018, id="amazon-2018"),
        pytest.param({**AMAZON_2018, "helpful": [0, 0]}, id="amazon-2014"),
        pytest.param({**AMAZON_2023, "timestamp": 1529193600000}, id="amazon-2023"),
        pytest.param({**YELP, "date": "2018-06-17 00:00:00"}, id="yelp"),
        pytest.param(HOTELREC, id="hotelrec"),
        pytest.param(OFFERINGS, id="tripadvisor-offerings"),
        pytest.param(
            {"user": "A1", "item": "B1", "rating": "4", "text": "fine", "timestamp": "1529193600"}, id="table"
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "json.gz"])
def test_json_formats_give_the_same_review(
    write_lines: Callable[..., Path], record: dict[str, Any], suffix: str
) -> None:
    frame = read_reviews(write_lines(f"reviews.{suffix}", [record] * 3))
    assert frame.rows()[0] == ("A1", "B1", 4.0, "fine", 1529193600)
    assert frame.height == 3


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("user", "item", "rating", "text", "opinion", "sentiment"), id="not pepler"),
        pytest.param(("uid", "iid", "rating", "text"), id="not xrec"),
        pytest.param(("user_id", "business_id", "stars", "review"), id="not yelp"),
    ],
)
def test_table_that_resembles_a_format_keeps_its_texts(write_lines: Callable[..., Path], names: tuple) -> None:
    values = ("A1", "B1", 4, "fine", "good", 1)
    assert read_reviews(write_lines("r.jsonl", [dict(zip(names, values, strict=False))]))["text"].item() == "fine"


def test_prepared_interactions_can_be_prepared_again(write_lines: Callable[..., Path], tmp_path: Path) -> None:
    rows = [{"user": f"u{n % 3}", "item": f"i{n}", "rating": 4, "text": f"fine {n}"} for n in range(9)]
    prepare([write_lines("r.jsonl", rows)], tmp_path / "out")
    assert read_reviews(tmp_path / "out" / "interactions.parquet")["text"].to_list() == [row["text"] for row in rows]


def test_empty_text_column_beside_another_text_column_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("user,item,rating,text,review_body\nA1,B1,4,,fine\n")
    with pytest.raises(DataError, match=r"r.csv has no text .*\(column text\), but a column review_body: .*--text-col"):
        prepare([path], tmp_path / "out")
    named = PrepareOptions(read=ReadOptions(columns={"text": "text"}))
    assert prepare([path], tmp_path / "out", named)["reading"]["texts empty"] == 1


@pytest.mark.parametrize("indent", [None, 2], ids=["one line", "indented"])
@pytest.mark.parametrize("chunk_bytes", [7, 16 << 20], ids=["cut", "whole"])
def test_json_array_is_read_like_json_lines(
    write_lines: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    indent: int | None,
    chunk_bytes: int,
) -> None:
    rows = [{**HOTELREC, "author": f"ñ{n}", "text": 'a "],[" b\nc }{', "property_dict": {"a": [n]}} for n in range(30)]
    (tmp_path / "array.json").write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8")
    lines = read_reviews(write_lines("lines.jsonl", rows))
    monkeypatch.setattr("gavamoe.data.readers.lines.CHUNK_BYTES", chunk_bytes)
    assert read_reviews(tmp_path / "array.json").equals(lines)


def test_tripadvisor_hotel_file_gives_its_reviews(tmp_path: Path) -> None:
    review = {"Ratings": {"Overall": "4.0"}, "Author": "A1", "Title": "t", "Content": "fine", "Date": "June 17, 2018"}
    for info in ({"HotelID": "B1", "Name": "x"}, {"HotelID": "B1"}):
        (tmp_path / "B1.json").write_text(json.dumps({"Reviews": [review] * 2, "HotelInfo": info}, indent=1))
        assert read_reviews(tmp_path / "B1.json").rows() == [("A1", "B1", 4.0, "fine", 1529193600)] * 2


def test_one_file_per_hotel_gives_the_hotel_names(tmp_path: Path) -> None:
    ratings, when = {"Overall": "4.0"}, "June 17, 2018"
    for hotel in ("H1", "H2"):
        reviews = [{"Ratings": ratings, "Author": author, "Content": "fine", "Date": when} for author in ("A1", "A2")]
        info = {"HotelID": hotel, "Name": f"Inn {hotel}"}
        (tmp_path / f"{hotel}.json").write_text(json.dumps({"Reviews": reviews, "HotelInfo": info}))
    card = prepare([str(tmp_path / "H*.json")], tmp_path / "out")
    assert card["items"]["described"] == 2
    assert ReviewDataset.load(tmp_path / "out").catalog.items["title"].to_list() == ["Inn H1", "Inn H2"]


def test_each_anonymous_review_has_its_own_unknown_user(tmp_path: Path) -> None:
    reviews = [
        {"Ratings": {"Overall": 1 + n % 5}, "Author": "A TripAdvisor Member" if n % 2 else "A1", "Content": f"fine {n}"}
        for n in range(8)
    ]
    for hotel in range(4):
        two = reviews[2 * hotel : 2 * hotel + 2]
        hotel_file = {"Reviews": [two[0], two[1], two[1]], "HotelInfo": {"HotelID": f"H{hotel}"}}
        (tmp_path / f"H{hotel}.json").write_text(json.dumps(hotel_file))
    card = prepare([str(tmp_path / "H*.json")], tmp_path / "out")
    rows = ReviewDataset.load(tmp_path / "out").interactions()
    assert (card["reading"]["by anonymous users"], rows.height) == (8, 12)  # none counts as a repeated pair
    anonymous = rows.filter(pl.col("user") != "A1")
    assert (anonymous["user"].n_unique(), anonymous["user_id"].unique().to_list()) == (8, [0])
    assert ReviewDataset.load(tmp_path / "out").catalog.user_names[1:] == ["A1"]


CSV = 'user_id,item_id,stars,review,when\nA1,B1,4,"a, ""good""\nfilm",x\nA2,B2,5,,x\n'


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress, zstd.compress], ids=["plain", "gzip", "zstd"])
def test_csv_with_guessed_columns_and_quoted_line_breaks(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "reviews.csv"
    path.write_bytes(pack(CSV.encode()))
    assert read_reviews(path).rows() == [("A1", "B1", 4.0, 'a, "good" film'), ("A2", "B2", 5.0, "")]


@pytest.mark.parametrize(
    "stray",
    [
        pytest.param('u1,i1,3,"great film', id="to the end of the file"),
        pytest.param('u1,i1,3,"great film\nu2,i2,4,"fine"', id="to the next quoted text"),
        pytest.param('u1,i1,3,"great film\nu2,i2,4,fine"', id="to another stray quote"),
    ],
)
def test_unclosed_quote_loses_no_review(tmp_path: Path, stray: str) -> None:
    path = tmp_path / "r.csv"
    path.write_text(f'user,item,rating,text\nu0,i0,5,"one\ntwo"\n{stray}\nu3,i3,2,so so\nu4,i4,1,bad\n')
    users = ["u0", "u1", "u2", "u3", "u4"] if "u2" in stray else ["u0", "u1", "u3", "u4"]
    read = read_reviews(path)
    assert read["user"].to_list() == users
    assert read["text"].to_list()[:2] == ["one two", "great film"]


def test_unclosed_quote_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text('user,text,item,rating\nu0,"one\ntwo",i0,5\nu1,"great,i1,3\nu2,fine,i2,4\n')
    with pytest.raises(DataError, match=r"line 4: not a delimited record \(a quote that does not close\)"):
        read_reviews(path)
    card = prepare([path], tmp_path / "out", PrepareOptions(skip_bad=1))
    assert (card["reading"]["rows"], card["reading"]["bad lines dropped"]) == (2, 1)


def test_quoted_text_may_contain_lines_with_as_many_commas_as_a_record(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text('user,item,rating,text\nu1,i1,3,"Great food.\nThe pasta, pizza, wine, and desserts"\n')
    assert read_reviews(path)["text"].to_list() == ["Great food. The pasta, pizza, wine, and desserts"]


def test_given_column_names_determine_the_separator(tmp_path: Path) -> None:
    path = tmp_path / "r.tsv"
    path.write_text("u1\ti1\t3\tgood, bad, ugly, and, well, long\nu2\ti2\t4\tfine\n")
    options = PrepareOptions(read=ReadOptions(header=("user", "item", "rating", "text")))
    assert prepare([path], tmp_path / "out", options)["reading"]["rows"] == 2
    assert ReviewDataset.load(tmp_path / "out").interactions()["text"][0] == "good, bad, ugly, and, well, long"


def test_tsv_is_read(tmp_path: Path) -> None:
    path = tmp_path / "reviews.tsv"
    path.write_text("item\tuser\trating\nB1\tA1\t3\n")
    assert read_reviews(path).rows() == [("A1", "B1", 3.0, "")]


def test_whole_numbers_that_parquet_stores_as_decimals_are_read_without_them(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"user": [1.0, 2.0, 1.5], "item": [7, 8, 9], "rating": [4.0, 3.5, 1.0], "text": ["a", "b", "c"]}
    )
    frame.write_parquet(tmp_path / "reviews.parquet")
    read = read_reviews(tmp_path / "reviews.parquet")
    assert read["user"].to_list() == ["1", "2", "1.5"]
    assert read["rating"].to_list() == [4, 3.5, 1]


def test_parquet_with_integer_ids_and_datetimes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "reviews.parquet"
    frame = pl.DataFrame({"userId": [7], "movieId": [9], "rating": [3.5], "date": ["2018-06-17"]})
    frame.with_columns(pl.col("date").str.to_datetime("%Y-%m-%d")).write_parquet(path)
    assert read_reviews(path).rows() == [("7", "9", 3.5, "", 1529193600)]


@pytest.mark.parametrize(
    "written",
    [
        "2018-06-17T00:00:00+00:00",
        "2018-06-17T02:00:00+0200",
        "2018-06-16 19:00:00.000 -05:00",
        "2018-06-17 00:00:00 UTC",
        "2018-06-17 00:00",
        "2018-06-17T00:00Z",
        "20180617",
    ],
)
def test_times_of_all_formats_are_read_as_utc(tmp_path: Path, written: str) -> None:
    path = tmp_path / "r.csv"
    path.write_text(f"user,item,rating,time\nA1,B1,3,{written}\nA1,B2,3,1529193600\nA1,B3,3,2018-06-17\n")
    assert read_reviews(path)["timestamp"].to_list() == [1529193600] * 3


def test_utf8_bom_and_windows_line_ends_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_bytes(b"\xef\xbb\xbfuser,item,rating,split\r\nA1,B1,3,dev\r\n")
    assert read_reviews(path).rows() == [("A1", "B1", 3.0, "", "valid")]


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        ("good<br />bad", "good bad"),
        ("<b>very</b> good &amp; cheap &#34;x&#34;", 'very good & cheap "x"'),
        ("a < b and c > d", "a < b and c > d"),
        ("cafÃ© isnâ€™t", "café isn’t"),
        ("â€œfineâ€\x9d, said he", "“fine”, said he"),
        ("two\n\n  spaces\t", "two spaces"),
        ("[[VIDEOID:123]] look", "look"),
        ("AT&T", "AT&T"),
        ("food&notes, ?id=1&region=us&section=2", "food&notes, ?id=1&region=us&section=2"),
        ("a &eacute; &#x41; &unknown; b", "a é A &unknown; b"),
    ],
)
def test_texts_are_cleaned_of_markup_entities_and_broken_encoding(
    write_lines: Callable[..., Path], given: str, clean: str
) -> None:
    path = write_lines("r.jsonl", [{"user": "a", "item": "b", "rating": 1, "text": given}])
    assert read_reviews(path)["text"].item() == clean


def test_chunk_boundaries_do_not_change_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"user": f"u{n}", "item": "ñ" * (n % 7), "rating": 3, "text": 'a "quoted\nline" ' * (n % 3)}
        for n in range(1, 60)
    ]
    rows = [{**row, "item": row["item"] or "i"} for row in rows]
    (tmp_path / "r.jsonl").write_text("\n\n".join(json.dumps(row) for row in rows))
    pl.DataFrame(rows).write_csv(tmp_path / "r.csv")
    whole = [read_reviews(tmp_path / name) for name in ("r.jsonl", "r.csv")]
    monkeypatch.setattr("gavamoe.data.readers.lines.CHUNK_BYTES", 50)
    cut = [read_reviews(tmp_path / name) for name in ("r.jsonl", "r.csv")]
    assert whole[0].equals(whole[1])
    assert cut[0].equals(whole[0])
    assert cut[1].equals(whole[1])
