"""Item metadata is found, read in each format, and joined by the item column."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.items import parse_item_columns
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.readers.open import ReadOptions
from gavamoe.errors import DataError

AMAZON = {"reviewerID": "A1", "asin": "B1", "overall": 4.0, "reviewText": "fine", "unixReviewTime": 1529193600}
META_2018 = {
    "asin": "B1",
    "title": "A card",
    "category": ["Gifts", "Cards"],
    "description": ["One.", "Two &amp; three."],
}
META_2014 = {"asin": "B1", "title": "A card", "categories": [["Gifts", "Cards"]], "description": "One. Two & three."}
JOINED = ("A card", ["Gifts", "Cards"], "One. Two & three.")


def described(path: Path) -> tuple:
    return ReviewDataset.load(path).catalog.items.select("title", "categories", "description").row(0)


@pytest.mark.parametrize(
    ("reviews", "meta", "line"),
    [
        ("Cards_5.json", "meta_Cards.json", json.dumps(META_2018)),
        ("reviews_Cards_5.json", "meta_Cards.json", repr(META_2014)),
        ("Cards.jsonl", "items.jsonl", json.dumps(META_2018)),
    ],
)
def test_amazon_sidecar_metadata_is_joined(
    write_lines: Callable[..., Path], tmp_path: Path, reviews: str, meta: str, line: str
) -> None:
    (tmp_path / meta).write_text(line + "\n" + line.replace("B1", "B2") + "\n")
    prepare([write_lines(reviews, [AMAZON])], tmp_path / "out")
    assert described(tmp_path / "out") == JOINED


def test_parquet_metadata_with_lists_is_read_like_json(write_lines: Callable[..., Path], tmp_path: Path) -> None:
    pl.DataFrame([META_2018]).write_parquet(tmp_path / "meta.parquet")
    prepare([write_lines("r.jsonl", [AMAZON])], tmp_path / "out", PrepareOptions(items=(tmp_path / "meta.parquet",)))
    assert described(tmp_path / "out") == JOINED


@pytest.mark.parametrize(
    ("categories", "parsed"),
    [
        ("['Drama', 'Comedy']", ["Drama", "Comedy"]),
        ('[{"id": 28, "name": "Action"}, {"id": 3, "name": "War"}]', ["Action", "War"]),
        ("[['Films', 'Drama']]", ["Films", "Drama"]),
        ("[" * 50_000, ["[" * 50_000]),
    ],
)
def test_lists_in_cells_are_read_as_json_or_python(tmp_path: Path, categories: str, parsed: list[str]) -> None:
    (tmp_path / "r.csv").write_text("user,item,rating,text\nA1,B1,4,fine\n")
    pl.DataFrame({"item": ["B1"], "title": ["A film"], "categories": [categories]}).write_csv(tmp_path / "meta.csv")
    prepare([tmp_path / "r.csv"], tmp_path / "out", PrepareOptions(items=(tmp_path / "meta.csv",)))
    assert described(tmp_path / "out")[1] == parsed


def test_yelp_businesses_may_be_given_as_a_source(write_lines: Callable[..., Path], tmp_path: Path) -> None:
    review = {"user_id": "A1", "business_id": "B1", "stars": 4.0, "text": "fine", "date": "2018-06-17 00:00:00"}
    business = {"business_id": "B1", "name": "Cafe", "stars": 3.5, "categories": "Coffee, Tea", "city": "x"}
    sources = [write_lines("a.json", [business]), write_lines("b.json", [review])]
    card = prepare(sources, tmp_path / "out")
    assert described(tmp_path / "out") == ("Cafe", ["Coffee", "Tea"], None)
    assert [source["name"] for source in card["sources"]] == ["b.json"]
    with pytest.raises(DataError, match=r"describes items: name the file of reviews too; .*--user-col"):
        prepare(sources[:1], tmp_path / "out")


def test_reviews_with_an_unknown_user_column_are_not_taken_as_metadata(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("who,product_id,stars,title,body\nA1,B1,4,Yes,fine\n")
    (tmp_path / "c.csv").write_text("user,item,rating,text\nA1,B1,4,fine\n")
    with pytest.raises(DataError, match=r"a.csv has no column that could be the user; found who.*--user-col"):
        prepare([tmp_path / "c.csv", tmp_path / "a.csv"], tmp_path / "out")
    named = PrepareOptions(read=ReadOptions(columns={"user": "who"}))
    card = prepare([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "out", named)
    assert card["reading"]["rows"] == 2


def test_unrelated_file_beside_the_reviews_is_ignored(write_lines: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "items.json").write_text('[{"what": "an array"}]')
    (tmp_path / "item.csv").write_text("colour,size\nred,3\n")
    card = prepare([write_lines("r.jsonl", [AMAZON])], tmp_path / "out")
    assert card["items"] == {"sources": [], "described": 0}


def test_errors_in_sidecar_metadata_are_ignored(write_lines: Callable[..., Path], tmp_path: Path) -> None:
    reviews, meta = write_lines("Cards_5.json", [AMAZON]), tmp_path / "meta_Cards.json"
    meta.write_text(json.dumps(META_2018) + "\n" + '{"asin": "B2", \n')
    prepare([reviews], tmp_path / "out")
    assert described(tmp_path / "out") == JOINED
    lines = "".join(json.dumps({**META_2018, "asin": f"B{n}", "noise": str(hash(n))}) + "\n" for n in range(20_000))
    meta.write_bytes(gzip.compress(lines.encode())[:-9])
    card = prepare([reviews], tmp_path / "out")
    assert card["items"] == {"sources": [], "described": 0}
    with pytest.raises(DataError, match="cut short"):
        prepare([reviews], tmp_path / "out", PrepareOptions(items=(meta,)))


def test_bad_review_in_a_hotel_file_is_counted_once(tmp_path: Path) -> None:
    review = {"Ratings": {"Overall": "4"}, "Author": "A1", "Content": "fine", "Date": "June 17, 2018"}
    info = {"HotelID": "H1", "Name": "Inn"}
    (tmp_path / "H1.json").write_text(json.dumps({"Reviews": [review, 3], "HotelInfo": info}))
    card = prepare([tmp_path / "H1.json"], tmp_path / "out", PrepareOptions(skip_bad=1))
    assert card["reading"]["bad lines dropped"] == 1
    assert described(tmp_path / "out")[0] == "Inn"


def test_missing_metadata_file_is_reported_before_any_review_is_read(
    write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    rows: list[int] = []
    options = PrepareOptions(items=(tmp_path / "absent.csv",))
    with pytest.raises(DataError, match=r"absent\.csv does not exist"):
        prepare([write_lines("r.jsonl", [AMAZON])], tmp_path / "out", options, rows.append)
    assert rows == []


def test_items_may_be_joined_by_title(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user,title,rating\nA1,A film,4\n")
    (tmp_path / "films.csv").write_text("title,genres\nA film,Drama\n")
    options = PrepareOptions(read=ReadOptions(columns={"item": "title"}), items=(tmp_path / "films.csv",))
    prepare([tmp_path / "r.csv"], tmp_path / "out", options)
    assert described(tmp_path / "out") == ("A film", ["Drama"], None)


def test_metadata_given_as_option_may_have_another_item_column(
    write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "films.csv"
    path.write_text("movieId,title,genres\nB1,A film,Drama|War\n")
    prepare([write_lines("r.jsonl", [AMAZON])], tmp_path / "out", PrepareOptions(items=(path,)))
    assert described(tmp_path / "out") == ("A film", ["Drama", "War"], None)
    path.write_text("name,title\nx,y\n")
    with pytest.raises(DataError, match="no column asin to join items by; found name, title"):
        prepare([tmp_path / "r.jsonl"], tmp_path / "out", PrepareOptions(items=(path,)))


def test_columns_of_item_files_can_be_named(write_lines: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "goods.csv"
    path.write_text("number,label,kind,words\nB1,A card,Gifts|Cards,Nice.\n")
    named = parse_item_columns("item=number,title=label,categories=kind,description=words")
    options = PrepareOptions(items=(path,), item_columns=named)
    prepare([write_lines("r.jsonl", [AMAZON])], tmp_path / "out", options)
    assert described(tmp_path / "out") == ("A card", ["Gifts", "Cards"], "Nice.")
    options = PrepareOptions(items=(path,), item_columns={"item": "number", "title": "lable"})
    with pytest.raises(DataError, match=r"no column lable \(named as title by --item-columns\); found number"):
        prepare([tmp_path / "r.jsonl"], tmp_path / "out", options)
    for text in ("item", "price=x", "item="):
        with pytest.raises(DataError, match=r"--item-columns .*expected NAME=COLUMN with item, title"):
            parse_item_columns(text)
