"""The column names of public review sets, shop exports and several languages are recognised whole."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.readers.layouts import find_layout
from gavamoe.data.readers.open import ReadOptions, read_reviews
from gavamoe.errors import DataError

# Each line is `name: header | user, item, rating, text, time` (- where the file has none).
HEADERS = Path(__file__).with_name("headers.txt").read_text(encoding="utf-8").splitlines()
# Sets that name no user.
NO_USER = {
    "women's clothing": (
        "Clothing ID,Age,Title,Review Text,Rating,Recommended IND,Positive Feedback Count",
        "Clothing ID",
    ),
    "Alexa": ("rating,date,variation,verified_reviews,feedback,product", "product"),
    "drugs": ("uniqueID,drugName,condition,review,rating,date,usefulCount", "drugName"),
    "Disneyland": ("Review_ID,Rating,Year_Month,Reviewer_Location,Review_Text,Branch", "Branch"),
    "Google Play console": (
        "Package Name,App Version Code,Reviewer Language,Review Submit Millis Since Epoch,Star Rating,Review Text",
        "Package Name",
    ),
}
COLUMNS = ("user", "item", "rating", "text", "timestamp")


@pytest.mark.parametrize("line", HEADERS, ids=lambda line: line.partition(":")[0])
def test_header_is_recognised_whole(line: str) -> None:
    header, _, wanted = line.partition(": ")[2].partition(" | ")
    found = find_layout(header.split(","), {}).columns
    expected = {column: name for column, name in zip(COLUMNS, wanted.split(","), strict=True) if name != "-"}
    assert {column: found[column] for column in COLUMNS if found.get(column) in header.split(",")} == expected


@pytest.mark.parametrize("name", NO_USER)
def test_set_without_users_needs_one_option(name: str) -> None:
    header, item = NO_USER[name]
    with pytest.raises(DataError, match=r"no column that could be the user; found .*--user-col none"):
        find_layout(header.split(","), {})
    layout = find_layout(header.split(","), {"user": "none"})
    assert layout.columns["item"] == item
    assert {"rating", "text"} <= set(layout.columns)
    assert "user" not in layout.columns


def rows(count: int, **changes: list) -> dict[str, list]:
    return {
        "who": [f"u{n % 9}" for n in range(count)],
        "what": [f"i{n % 7}" for n in range(count)],
        "rating": [1 + n % 5 for n in range(count)],
        **changes,
    }


def test_missing_text_column_lists_the_columns(tmp_path: Path) -> None:
    said = [f"the room was number {n} of them" for n in range(40)]
    pl.DataFrame(rows(40, said_by_guest=said)).write_csv(tmp_path / "r.csv")
    named = {"user": "who", "item": "what"}
    with pytest.raises(
        DataError, match=r"no column looks like the text; found who, .*\(said_by_guest could.*--text-col"
    ):
        prepare([tmp_path / "r.csv"], tmp_path / "out", PrepareOptions(read=ReadOptions(columns=named)))
    without = PrepareOptions(read=ReadOptions(columns={**named, "text": "none"}))
    assert prepare([tmp_path / "r.csv"], tmp_path / "out", without)["counts"]["with_text"] == 0


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"title": [f"The long way to film {n}" for n in range(40)]},
        {"place": [f"Number {n % 7} of the High Street" for n in range(40)]},
        {"visited": ["3 weeks ago or so"[:11]] * 40},
        {"link": [f"https://example.org/a b c/{n}" for n in range(40)]},
    ],
    ids=["nothing", "titles", "of the item", "times", "links"],
)
def test_ratings_without_texts_are_said_in_one_line(tmp_path: Path, extra: dict) -> None:
    pl.DataFrame(rows(40, **extra)).write_csv(tmp_path / "r.csv")
    options = PrepareOptions(read=ReadOptions(columns={"user": "who", "item": "what"}))
    card = prepare([tmp_path / "r.csv"], tmp_path / "out", options)
    assert card["notes"]["text"] == "no column is the text: ratings without texts"


@pytest.mark.parametrize("name", ["*", "^.*$", "^who.*$", "line"])
def test_names_of_columns_are_data_never_patterns(tmp_path: Path, name: str) -> None:
    said = [f"the room was number {n} of them" for n in range(12)]
    pl.DataFrame({**rows(12), name: said}).write_parquet(tmp_path / "r.parquet")
    named = {"user": "who", "item": "what", "text": name}
    prepare([tmp_path / "r.parquet"], tmp_path / "out", PrepareOptions(read=ReadOptions(columns=named)))
    assert set(ReviewDataset.load(tmp_path / "out").interactions()["text"]) <= set(said)


def test_named_columns_for_a_file_with_a_header_are_refused(tmp_path: Path) -> None:
    (tmp_path / "r.tsv").write_text("user_id:token\titem_id:token\trating:float\nu1\ti1\t3\nu2\ti1\t4\n")
    options = PrepareOptions(read=ReadOptions(header=("user", "item", "rating")))
    with pytest.raises(DataError, match=r"line 1 names the columns itself \(user_id:token.*leave it out"):
        prepare([tmp_path / "r.tsv"], tmp_path / "out", options)


def test_every_review_may_have_its_own_reviewer_and_the_file_may_be_the_item(tmp_path: Path) -> None:
    for place in ("Café du Nord", "museum.v2"):
        lines = "".join(f"{1 + n % 5},the view was fine {n}\n" for n in range(10))
        (tmp_path / f"{place}.csv").write_text(f"stars,review\n{lines}")
    options = PrepareOptions(read=ReadOptions(columns={"user": "none"}, item_from_file=True))
    card = prepare([tmp_path / "*.csv"], tmp_path / "out", options)
    frame = ReviewDataset.load(tmp_path / "out").interactions()
    assert (frame["item"].n_unique(), frame["user"].n_unique(), card["counts"]["users"]) == (2, 20, 0)
    assert set(frame["item"]) == {"Café du Nord", "museum.v2"}
    assert card["notes"]["user"] == "no column: every review by a reviewer of its own"


def test_evaluation_advises_no_option_of_prepare(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("who,item,rating,text\nu,i,3,fine\n")
    with pytest.raises(DataError, match="could be the user; found who") as caught:
        read_reviews(tmp_path / "r.csv")
    assert "--" not in str(caught.value)
