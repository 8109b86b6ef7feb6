"""Files are read with the column names that a run's data was prepared with."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from gavamoe.conditions import Condition
from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.readers.canonical import ReadRules
from gavamoe.data.readers.open import ReadOptions, read_reviews
from gavamoe.errors import DataError
from gavamoe.pipeline.pairs_file import read_pairs

NAMED = {"user": "who", "item": "place", "rating": "points", "text": "said"}
ODD = {"who": ["u1", "u2"], "place": ["i1", "i2"], "points": ["A", "B"], "said": ["a warm pool", "a cold pool"]}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """The catalog, saved and loaded as a run keeps it, of reviews with odd names of columns and words as ratings."""
    rows = {name: values * 10 for name, values in ODD.items()}
    rows["place"] = [f"i{n}" for n in range(20)]
    pl.DataFrame(rows).write_csv(tmp_path / "r.csv")
    rules = ReadRules(ratings={"a": 5.0, "b": 3.0}, anonymous=("nobody here",))
    prepare([tmp_path / "r.csv"], tmp_path / "data", PrepareOptions(read=ReadOptions(columns=NAMED, rules=rules)))
    ReviewDataset.load(tmp_path / "data").catalog.save(tmp_path / "catalog")
    return Catalog.load(tmp_path / "catalog")


def test_a_file_with_the_prepared_columns_is_read_as_they_were(catalog: Catalog, tmp_path: Path) -> None:
    pl.DataFrame(ODD).write_csv(tmp_path / "new.csv")
    frame = read_reviews(tmp_path / "new.csv", prepared=catalog.prepared)
    assert frame.rows() == [("u1", "i1", 5.0, "a warm pool"), ("u2", "i2", 3.0, "a cold pool")]
    assert json.loads((tmp_path / "catalog" / "catalog.json").read_text())["columns"] == NAMED


def test_a_file_with_usual_columns_is_read_too(catalog: Catalog, tmp_path: Path) -> None:
    pl.DataFrame({"user_id": ["u1"], "item_id": ["i1"], "stars": [4], "review": ["fine"]}).write_csv(tmp_path / "n.csv")
    assert read_reviews(tmp_path / "n.csv", prepared=catalog.prepared).rows() == [("u1", "i1", 4.0, "fine")]


def test_catalogs_of_earlier_versions_load(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "catalog" / "catalog.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({name: about[name] for name in ("scale", "extractor")}))
    assert Catalog.load(tmp_path / "catalog").columns == {}


def test_reviews_without_users_are_remembered_as_such(tmp_path: Path) -> None:
    for name in ("park", "zoo"):
        pl.DataFrame({"stars": [1, 5] * 6, "review": [f"a fine day {n}" for n in range(12)]}).write_csv(
            tmp_path / f"{name}.csv"
        )
    options = ReadOptions(columns={"user": "none"}, item_from_file=True)
    prepare([tmp_path / "*.csv"], tmp_path / "data", PrepareOptions(read=options))
    prepared = ReviewDataset.load(tmp_path / "data").catalog.prepared
    frame = read_reviews(tmp_path / "zoo.csv", prepared=prepared)
    assert (frame["item"].unique().to_list(), frame["user"].n_unique()) == (["zoo"], 12)


@pytest.mark.parametrize("names", [("user", "item"), ("who", "place"), ("user_id", "item_id"), ("reviewerID", "asin")])
def test_pairs_are_found_by_own_prepared_or_usual_names(
    catalog: Catalog, tmp_path: Path, names: tuple[str, str]
) -> None:
    pl.DataFrame({names[0]: [" u1"], names[1]: ["i2"]}).write_csv(tmp_path / "pairs.csv")
    assert read_pairs(tmp_path / "pairs.csv", Condition(), catalog.scale, prepared=catalog.columns).rows() == [
        ("u1", "i2")
    ]


def test_pairs_without_a_user_name_the_columns(catalog: Catalog, tmp_path: Path) -> None:
    pl.DataFrame({"x": ["u1"], "item": ["i2"]}).write_csv(tmp_path / "pairs.csv")
    with pytest.raises(DataError, match="has no column user; found x, item"):
        read_pairs(tmp_path / "pairs.csv", Condition(), catalog.scale, prepared=catalog.columns)
