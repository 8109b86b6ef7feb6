"""Pickles are read without running code, and those of PEPLER and XRec give the reviews and the published split."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.readers.open import ReadOptions, read_reviews
from gavamoe.errors import DataError

SPLITS = {"train": "train.index", "valid": "validation.index", "test": "test.index"}


class Danger:
    """Unpickles as a call of os.mkdir."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def pepler(tmp_path: Path) -> Path:
    """A PETER/PEPLER directory: reviews.pickle, and two splits of it in index/1 and index/2."""
    records = [
        {
            "user": f"u{n % 7}",
            "item": f"i{n % 11}",
            "rating": 1 + n % 5,
            "template": (
                "staff" if n % 2 else "front desk",
                f"Kind{n}",
                f"the front desk staff is kind {n}",
                1 - n % 2 * 2,
            ),
            "predicted": "staff",
        }
        for n in range(70)
    ]
    path = tmp_path / "TripAdvisor" / "reviews.pickle"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(records))
    for number in (1, 2):
        directory = path.parent / "index" / str(number)
        directory.mkdir(parents=True)
        order = np.random.default_rng(number).permutation(70)
        for file, part in zip(SPLITS.values(), np.split(order, [50, 60]), strict=True):
            (directory / file).write_text(" ".join(map(str, part)))
    return path


@pytest.mark.parametrize("number", [None, 2])
def test_pepler_round_trip(pepler: Path, tmp_path: Path, number: int | None) -> None:
    index = pepler.parent / "index" / str(number) if number else None
    source = pepler if number else pepler.parent  # the directory is accepted, since it contains reviews.pickle
    card = prepare([source], tmp_path / "out", PrepareOptions(read=ReadOptions(index=index), split="column"))
    dataset = ReviewDataset.load(tmp_path / "out")
    records = pickle.loads(pepler.read_bytes())
    for split, file in SPLITS.items():
        numbers = sorted(map(int, (pepler.parent / "index" / str(number or 1) / file).read_text().split()))
        columns = ["user", "item", "rating", "feature", "opinion", "text", "sentiment"]
        found = dataset.interactions(split, columns).rows()
        records_of_split = [(records[n], *records[n]["template"]) for n in numbers]
        assert found == [
            (record["user"], record["item"], record["rating"], feature, opinion.lower(), text, sentiment)
            for record, feature, opinion, text, sentiment in records_of_split
        ]
    assert card["features"]["method"] == "column"
    assert dataset.catalog.features == ["front desk", "staff"]


class Call:
    """Pickles as a given call, to write the pickles of other library versions."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_frames_of_pandas_before_1_3_are_read(tmp_path: Path, protocol: int) -> None:
    pandas = pytest.importorskip("pandas", reason="the pickle refers to names of pandas")
    from pandas.core.indexes.base import _new_Index
    from pandas.core.internals.managers import BlockManager

    columns = np.array(["uid", "explanation", "iid"], dtype=object)
    numbers, texts = np.array([[1, 2], [7, 8]]), np.array([["likes the plot", "likes the cast"]], dtype=object)
    axes = [Call(_new_Index, (pandas.Index, {"data": columns, "name": None})), Call(pandas.RangeIndex, (0, 2, 1))]
    blocks = [{"values": numbers, "mgr_locs": slice(0, 3, 2)}, {"values": texts, "mgr_locs": slice(1, 2, 1)}]
    state = (axes, [numbers, texts], [], {"0.14.1": {"axes": axes, "blocks": blocks}})
    frame = Call(pandas.DataFrame, (), {"_data": Call(BlockManager, (), state), "_typ": "dataframe"})
    (tmp_path / "trn.pkl").write_bytes(pickle.dumps(frame, protocol=protocol))
    read = read_reviews(tmp_path / "trn.pkl")
    assert read.select("user", "item", "text").rows() == [("1", "7", "likes the plot"), ("2", "8", "likes the cast")]


def forged_arrays() -> dict[str, Call]:
    """Return arrays that use eight raw bytes as an object: by their type, or by a field that the type's flags hide."""
    from numpy._core.numeric import _frombuffer

    hidden = Call(np.dtype, ("V8", False, True), (3, "|", None, ("a",), {"a": (np.dtype(object), 0)}, 8, 1, 0))
    state = (1, (1,), np.dtype(object), False, b"A" * 8)
    return {
        "called": Call(np.ndarray, ((1,), np.dtype(object), b"A" * 8)),
        "field": Call(_frombuffer, (b"A" * 8, hidden, (1,), "C")),
        "buffer": Call(_frombuffer, (b"A" * 8, np.dtype(object), (1,), "C")),
        "state": Call(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state),
    }


@pytest.mark.parametrize("forged", ["called", "field", "buffer", "state"])
def test_raw_bytes_are_never_read_as_objects(tmp_path: Path, forged: str) -> None:
    path = tmp_path / "reviews.pickle"
    record = {"user": "a", "item": "b", "rating": 3, "text": forged_arrays()[forged]}
    path.write_bytes(pickle.dumps([record]))
    program = """
import sys
from pathlib import Path
from gavamoe.data.readers.pandas_pickle import load_frame
from gavamoe.errors import DataError
try:
    print(load_frame(Path(sys.argv[1]))[0]["text"])
except DataError as error:
    print(error)
"""
    # In a separate process, since a failure would crash the process.
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = "_Recorded object" if forged == "called" else "is not a pickle that can be read: an array of"
    assert expected in done.stdout


def test_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "reviews.pickle"
    path.write_bytes(pickle.dumps([{"user": "a", "item": "b", "rating": Danger(tmp_path / "ran")}]))
    with pytest.raises(DataError, match=r"refused: the pickle asks for posix\.mkdir"):
        read_reviews(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["builtins.eval", "builtins.getattr", "os.system", "numpy.load", "pandas.read_pickle"])
def test_names_that_could_run_code_are_refused(tmp_path: Path, name: str) -> None:
    module, _, function = name.partition(".")
    path = tmp_path / "reviews.pickle"
    path.write_bytes(b"c" + module.encode() + b"\n" + function.encode() + b"\n.")
    with pytest.raises(DataError, match="refused"):
        read_reviews(path)


@pytest.mark.parametrize(
    ("content", "expected"), [("0 99", "record 99 does not exist"), ("0 a", "expected record numbers")]
)
def test_wrong_index_file_is_a_data_error(pepler: Path, content: str, expected: str) -> None:
    (pepler.parent / "index" / "1" / "test.index").write_text(content)
    with pytest.raises(DataError, match=expected):
        read_reviews(pepler)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("dtype", ["object", "str"])
def test_xrec_frames_are_read_without_pandas_and_split_by_file_name(tmp_path: Path, protocol: int, dtype: str) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas writes the frames that the reader is tested on")
    for name, first in (("trn", 0), ("val", 8), ("tst", 10)):
        rows = range(first, {"trn": 8, "val": 10, "tst": 12}[name])
        frame = pandas.DataFrame(
            {"uid": [n % 4 for n in rows], "iid": [n % 3 for n in rows], "score": [0.5 for _ in rows]}
        )
        with pandas.option_context("mode.string_storage", "python"):  # with pyarrow installed, Arrow is the default
            frame["explanation"] = pandas.Series([f"likes the plot {n}" for n in rows], dtype=dtype)
            frame.columns = frame.columns.astype(object)
        with (tmp_path / f"{name}.pkl").open("wb") as file:
            pickle.dump(frame, file, protocol=protocol)
    card = prepare([tmp_path], tmp_path / "out", PrepareOptions(split="column"))
    dataset = ReviewDataset.load(tmp_path / "out")
    assert card["sources"][0]["format"] == "xrec"
    assert dataset.splits == {"train": 8, "valid": 2, "test": 2}
    assert dataset.interactions("test", ["user", "text"]).rows() == [
        ("2", "likes the plot 10"),
        ("3", "likes the plot 11"),
    ]
