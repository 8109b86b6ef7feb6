"""Ratings and times as people write them; names that name nobody; words that stand for missing values."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.readers.canonical import ReadRules
from gavamoe.data.readers.open import ReadOptions, read_reviews
from gavamoe.data.readers.ratings import RatingMap, parse_ratings, settle_ratings
from gavamoe.data.readers.times import EARLIEST, LATEST, parse_times, settle_times
from gavamoe.errors import DataError


def times(*written: str, form: str = "") -> list[str | None]:
    """Parse a column of times; ISO texts."""
    settled = settle_times(*parse_times(pl.Series(written), form), form)
    return [None if when is None else datetime.fromtimestamp(when, UTC).isoformat()[:19] for when in settled.timestamp]


@pytest.mark.parametrize(
    "written",
    [
        *(
            "30 August 2018",
            "August 30, 2018",
            "30-Aug-2018",
            "30. August 2018",
            "30 août 2018",
            "30 de agosto de 2018",
        ),
        *("2018年8月30日", "Posted August 30, 2018.", "Reviewed in the United States on August 30, 2018", "30.08.2018"),
        *("30/08/2018", "08/30/2018", "30-08-18", "2018/8/30", "2018.08.30", "20180830", "43342", "1535587200"),
        *("1535587200000", "1535587200000000", "1535587200000000000", "Thu, 30 Aug 2018 00:00:00 +0000"),
        *("Thu Aug 30 02:00:00 +0200 2018", "Rezension aus Deutschland vom 30. August 2018", "Thursday, 30th Aug '18"),
    ],
)
def test_the_same_day_in_every_form(written: str) -> None:
    assert times(written) == ["2018-08-30T00:00:00"]


@pytest.mark.parametrize(
    ("written", "when"),
    [
        ("8/30/2018 3:04:05 PM", "2018-08-30T15:04:05"),
        ("30/8/2018 12:04 AM", "2018-08-30T00:04:00"),
        ("Aug 30, 2018 3:04 pm", "2018-08-30T15:04:00"),
        ("Thu Aug 30 10:44:24 -0700 2018", "2018-08-30T17:44:24"),
        ("Thu, 30 Aug 2018 10:44:24 GMT", "2018-08-30T10:44:24"),
        ("2018年8月30日 14:05", "2018-08-30T14:05:00"),
        ("20180830T101112Z", "2018-08-30T10:11:12"),
        ("August 2018", "2018-08-01T00:00:00"),
        ("2018-8", "2018-08-01T00:00:00"),
        ("43342.5", "2018-08-30T12:00:00"),
        ("2018-08-30 10:11:12+00", "2018-08-30T10:11:12"),
        ("2018-08-30 10:11:12.5-07", "2018-08-30T17:11:12"),
        ("2018", "2018-01-01T00:00:00"),
    ],
)
def test_clock_zone_month_and_year(written: str, when: str) -> None:
    assert times(written) == [when]


@pytest.mark.parametrize(
    "written",
    ["0001-01-10", "1900-01-01", "9999-12-31", "a month ago", "yesterday", "30/30/2018", "31 February 2018", "soon"],
)
def test_what_is_no_time_of_a_review_is_not_understood(written: str) -> None:
    assert times(written) == [None]


def test_day_or_month_first_is_told_by_the_column() -> None:
    assert times("01/02/2018", "15/03/2018") == ["2018-02-01T00:00:00", "2018-03-15T00:00:00"]
    assert times("01/02/2018", "03/15/2018") == ["2018-01-02T00:00:00", "2018-03-15T00:00:00"]
    assert times("01-02-10", "15-03-24") == ["2010-02-01T00:00:00", "2024-03-15T00:00:00"]
    assert times("01/02/2018", "05/05/2018") == [None, "2018-05-05T00:00:00"]
    assert times("01.02.2018") == ["2018-02-01T00:00:00"]  # dates with dots are day first
    assert times("01/02/2018", form="month-first") == ["2018-01-02T00:00:00"]
    assert times("02:2018:01", form="%d:%Y:%m") == ["2018-01-02T00:00:00"]


@settings(max_examples=20)
@given(st.lists(st.dates(datetime(1951, 1, 1).date(), datetime(2049, 12, 31).date()), min_size=1, max_size=20))
def test_a_column_in_one_order_is_right_or_not_understood(days: list) -> None:
    for pattern in ("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%y", "%d %B %Y", "%b %d, %Y", "%Y-%m-%d"):
        found = times(*(day.strftime(pattern) for day in days))
        expected = [f"{day.isoformat()}T00:00:00" for day in days]
        assert all(right in (None, wanted) for right, wanted in zip(found, expected, strict=True)), pattern


@settings(max_examples=60)
@given(st.lists(st.text(max_size=20) | st.integers(-(10**19), 10**19).map(str), min_size=1, max_size=8))
def test_no_text_gives_a_time_outside_a_lifetime(written: list[str]) -> None:
    found = settle_times(*parse_times(pl.Series(written, dtype=pl.String))).timestamp.drop_nulls()
    assert found.is_between(EARLIEST, LATEST).all()


def table(tmp_path: Path, rows: int = 60, **columns: Callable[[int], object]) -> Path:
    """Write a table of reviews whose columns are functions of the row."""
    usual: dict[str, Callable[[int], object]] = {
        "user": lambda n: f"u{n % 12}",
        "item": lambda n: f"i{n % 7}",
        "rating": lambda n: 1 + n % 5,
        "text": lambda n: f"The story number {n} is kind.",
    }
    path = tmp_path / "r.csv"
    pl.DataFrame({name: [str(make(n)) for n in range(rows)] for name, make in {**usual, **columns}.items()}).write_csv(
        path
    )
    return path


def rules(**given: object) -> PrepareOptions:
    return PrepareOptions(read=ReadOptions(rules=ReadRules(**given)))  # type: ignore[arg-type]


def test_ambiguous_days_are_refused_for_a_temporal_split_and_printed_otherwise(tmp_path: Path) -> None:
    path = table(tmp_path, date=lambda n: f"{1 + n % 12:02}/{1 + (n + 1) % 12:02}/2018")
    with pytest.raises(DataError, match=r"may be day or month first.*--time-format day-first"):
        prepare([path], tmp_path / "out", PrepareOptions(split="temporal"))
    assert any("day or month first" in line for line in prepare([path], tmp_path / "out")["warnings"])
    named = PrepareOptions(split="temporal", read=ReadOptions(rules=ReadRules(time_format="day-first")))
    assert prepare([path], tmp_path / "out", named)["counts"]["with_time"] > 0


@pytest.mark.parametrize(
    ("write", "values"),
    [
        (lambda n: f"{n}.0 out of 5 stars", (1, 2, 3, 4, 5)),
        (lambda n: f"{n} von 5 Sternen", (1, 2, 3, 4, 5)),
        (lambda n: f"5つ星のうち{n}.0", (1, 2, 3, 4, 5)),
        (lambda n: f"{n}/5", (1, 2, 3, 4, 5)),
        (lambda n: f"{2 * n}/10", tuple(range(1, 11))),
        (lambda n: f"{4 * n}/20", (4, 8, 12, 16, 20)),
        (lambda n: "★" * n + "☆" * (5 - n), (1, 2, 3, 4, 5)),
        (lambda n: "⭐️" * n, (1, 2, 3, 4, 5)),
        (lambda n: f"{20 * n}%", (20, 40, 60, 80, 100)),
        (lambda n: f"{n},5" if n < 5 else "5,0", (1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5)),
        (lambda n: n > 2, (0, 1)),
        (lambda n: "yes" if n > 2 else "no", (0, 1)),
        (lambda n: ["ONE", "TWO", "THREE", "FOUR", "FIVE"][n - 1], (1, 2, 3, 4, 5)),
        (lambda n: f"allstar{n}0", (1, 2, 3, 4, 5)),
        (lambda n: f"{n} stars", (1, 2, 3, 4, 5)),
        (lambda n: f"{n}分", (1, 2, 3, 4, 5)),
        (lambda n: 2 * (n > 2) - 1, (-1, 1)),
        (lambda n: 76 + 4 * n, tuple(range(80, 101, 2))),
    ],
)
def test_written_ratings_name_their_own_scale(
    tmp_path: Path, write: Callable[[int], object], values: tuple[float, ...]
) -> None:
    card = prepare([table(tmp_path, rating=lambda n: write(1 + n % 5))], tmp_path / "out")
    assert set(values) <= set(card["scale"]["values"])
    assert card["scale"]["values"][-1] == values[-1]
    assert card["reading"]["rows"] == 60


def test_letters_and_words_need_a_map_and_the_message_names_it(tmp_path: Path) -> None:
    path = table(tmp_path, rating=lambda n: ["A", "B+", "B", "C"][n % 4])
    with pytest.raises(DataError, match=r'rating \'A\' is not a number \(say .*--ratings "A=..,B=..,B\+=..,C=.."\)'):
        prepare([path], tmp_path / "out")
    worth = RatingMap.parse("A=5, b+=4.5,B=4,C=3").worth
    card = prepare([path], tmp_path / "out", rules(ratings=worth))
    assert card["scale"]["values"] == [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5]
    for text in ("A", "A=x", "=5", "A=5,a=4"):
        with pytest.raises(DataError, match="--ratings"):
            RatingMap.parse(text)


def test_ratings_out_of_different_ends_come_to_one_scale() -> None:
    frame = parse_ratings(pl.Series(["3/5", "4/5", "7/10", "2"]), {})
    settled = settle_ratings(frame["rating"], frame["out_of"])
    assert settled.rating.to_list() == [3, 4, 3.5, 2]
    assert settled.note == "out of 5, as 3 of 4 are written; those out of 10 were rescaled"


@pytest.mark.parametrize(
    ("bare", "written", "value", "end"),
    [
        (["1", "3", "5"], "80%", 4, 5),
        (["1", "3", "5"], "8/10", 4, 5),
        (["1", "3", "5"], "4/5", 4, 5),
        (["1", "2", "3", "4", "5"] * 20 + ["7"], "4/5", 4, 5),  # a stray 7 is out of range, and no other scale
        (["0", "1", "1"], "80%", pytest.approx(0.8), 1),
        (["10", "60", "90"], "4/5", 80, 100),
        (["3", "7", "8"], "4/8", 4, 8),
    ],
)
def test_a_written_rating_among_bare_numbers_comes_to_their_scale(bare, written, value, end) -> None:
    frame = parse_ratings(pl.Series([*bare, written]), {})
    settled = settle_ratings(frame["rating"], frame["out_of"])
    assert settled.rating.to_list() == [*map(float, bare), value]
    assert settled.high == end


def test_files_whose_ratings_end_differently_are_warned_of(tmp_path: Path) -> None:
    stars, points = tmp_path / "stars.csv", tmp_path / "points.csv"
    for path, factor in ((stars, 1), (points, 2)):
        rows = [f"u{n % 20},i{n % 13},{factor * (1 + n % 5)},good\n" for n in range(200)]
        path.write_text("user,item,rating,text\n" + "".join(rows))
    warned = prepare([stars, points], tmp_path / "out")["warnings"]
    assert any("5 in stars.csv, 10 in points.csv" in line for line in warned)
    assert not any("seem to end" in line for line in prepare([stars], tmp_path / "out").get("warnings", ()))


@pytest.mark.parametrize("text", ["1,234", "12,345"])
def test_a_comma_before_three_digits_is_no_decimal_comma(text: str) -> None:
    assert parse_ratings(pl.Series([text]), {})["rating"].to_list() == [None]


def test_zero_among_stars_is_warned_of_and_can_be_dropped(tmp_path: Path) -> None:
    path = table(tmp_path, 300, rating=lambda n: 0 if n % 10 == 0 else 3 + n % 3)
    [line] = [line for line in prepare([path], tmp_path / "out")["warnings"] if "not rated" in line]
    assert line.startswith("30 ratings (10.0%) are 0, which many sites write for not rated: --unrated 0")
    card = prepare([path], tmp_path / "out", rules(unrated=(0.0,)))
    assert card["scale"]["values"] == [1, 2, 3, 4, 5]
    assert card["reading"]["not rated, dropped"] == 30
    assert card["warnings"] == ["no rating is 1, 2: --scale LOW:HIGH:STEP sets other levels"]


@pytest.mark.parametrize(
    "name",
    [
        "A Google user",
        "Amazon Customer",
        "Guest",
        "None",
        "nan",
        "ANONYMOUS",
        "Amazon-Kunde",
        "匿名用户",
        "Client d'Amazon",
    ],
)
def test_placeholder_users_are_nobody(tmp_path: Path, name: str) -> None:
    path = table(tmp_path, 100, user=lambda n: name if n % 10 else f"bob{n}", item=lambda n: f"i{n % 3}")
    card = prepare([path], tmp_path / "out")
    assert (card["counts"]["reviews"], card["reading"]["by anonymous users"]) == (100, 90)
    assert card["notes"]["user"] == f'placeholders are nobody: "{name}" 90'


def test_a_further_name_of_nobody_is_warned_of_and_can_be_named(tmp_path: Path) -> None:
    path = table(tmp_path, 400, user=lambda n: "Store Team" if n % 3 else f"u{n}", item=lambda n: f"i{n}")
    card = prepare([path], tmp_path / "out")
    assert card["warnings"] == [
        'the user "Store Team" has 66% of the reviews: if it names nobody, --anonymous "Store Team" says so'
    ]
    card = prepare([path], tmp_path / "out", rules(anonymous=("store team",)))
    assert (card["reading"]["by anonymous users"], card.get("warnings")) == (266, None)


def test_one_text_and_one_day_with_an_implausible_share_are_named(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        400,
        text=lambda n: "No comment given" if n % 4 == 0 else f"The pool {n} is warm.",
        date=lambda n: "2019-05-01" if n % 3 == 0 else f"20{10 + n % 9}-0{1 + n % 7}-{10 + n % 11}",
    )
    warned = " ".join(prepare([path], tmp_path / "out")["warnings"])
    assert 'the text "No comment given" has 25% of the reviews' in warned
    assert 'the day "2019-05-01" has 34% of the reviews' in warned


def test_times_before_1950_are_warned_of(tmp_path: Path) -> None:
    path = table(tmp_path, date=lambda n: "1927-09-23" if n == 5 else "2018-03-04")
    card = prepare([path], tmp_path / "out")
    assert card["warnings"] == [
        "1 times lie before 1950, the first on 1927-09-23: check --timestamp-col and --time-format"
    ]
    path = table(tmp_path, date=lambda n: f"{n % 28 + 1:02}.03.{n % 90 + 10}")
    assert "warnings" not in prepare([path], tmp_path / "out")  # two digits are never such a year


def test_words_for_missing_values_are_no_texts_and_no_items(tmp_path: Path) -> None:
    words = ["nan", "None", "null", "N/A", "\\N"]
    path = table(tmp_path, text=lambda n: words[n % 5] if n % 2 else f"The story {n} is kind.")
    card = prepare([path], tmp_path / "out")
    assert card["reading"]["texts empty"] == 30
    assert set(ReviewDataset.load(tmp_path / "out").interactions()["text"]) & set(words) == set()
    path = table(tmp_path, item=lambda n: "null" if n == 7 else f"i{n}")
    with pytest.raises(DataError, match=r"line 9: no item \('null' stands for a missing value\)"):
        prepare([path], tmp_path / "out")


def test_composed_and_decomposed_names_are_one_user(tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "Zoë Ångström") for form in ("NFC", "NFD")]
    prepare([table(tmp_path, user=lambda n: forms[n % 2], item=lambda n: f"i{n}")], tmp_path / "out")
    catalog = ReviewDataset.load(tmp_path / "out").catalog
    assert catalog.user_names[1:] == [forms[0]]
    assert catalog.user_id(forms[1]) == 1
    other = pl.DataFrame({"user": forms, "item": ["i0", "i1"], "rating": [1, 5]})
    assert catalog.encode(other)["user_id"].to_list() == [1, 1]


def test_yes_among_numbers_is_a_bad_line(tmp_path: Path) -> None:
    path = table(tmp_path, rating=lambda n: "true" if n == 3 else 1 + n % 5)
    with pytest.raises(DataError, match="line 5: rating 'true' is not a number"):
        prepare([path], tmp_path / "out")
    with pytest.raises(DataError, match="line 5: rating 'true' is not a number"):
        read_reviews(path)
    assert prepare([path], tmp_path / "out", PrepareOptions(skip_bad=1))["reading"]["rows"] == 59
