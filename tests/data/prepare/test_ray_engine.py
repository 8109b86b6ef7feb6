"""`prepare --engine ray`: the dataset of the local engine, also when a worker is killed."""

from __future__ import annotations

import json
import os
import signal
import zipfile
from pathlib import Path

import polars as pl
import pytest

from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.readers.open import ReadOptions
from gavamoe.data.simulate import World, simulate
from gavamoe.errors import DataError

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'gavamoe[ray]'")

from helpers.ray_workers import two_workers  # noqa: E402

from gavamoe.data.prepare import ray_engine as module  # noqa: E402
from gavamoe.data.prepare.ray_engine import ray_engine  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cluster():
    """A local cluster with processors for two workers."""
    with two_workers() as address:
        yield address


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Five files of three formats, with anonymous users, unusable lines, and an archive of two tables."""
    reviews = simulate(World(users=30, items=20, reviews=400, clusters=2)).select("user", "item", "rating", "text")
    rows = [reviews[start : start + 80] for start in range(0, 400, 80)]
    paths = [tmp_path / name for name in ("a.csv", "b.jsonl", "c.parquet", "d.zip", "e.csv")]
    nobody = pl.when(pl.int_range(pl.len()) % 9 == 0).then(pl.lit("anonymous")).otherwise("user").alias("user")
    rows[0].with_columns(nobody).write_csv(paths[0])
    rows[1].with_columns(nobody).write_ndjson(paths[1])
    rows[2].write_parquet(paths[2])
    with zipfile.ZipFile(paths[3], "w") as archive:
        archive.writestr("one.csv", rows[3][:40].with_columns(nobody).write_csv())
        archive.writestr("two.csv", rows[3][40:].write_csv())
    paths[4].write_text(rows[4].with_columns(nobody).write_csv() + "someone,i01,no number,A fine thing.\n")
    return paths


def content(directory: Path) -> dict[str, object]:
    """Return the tables and the card of a dataset."""
    tables = {path.name: pl.read_parquet(path) for path in sorted(directory.glob("*.parquet"))}
    return {**tables, "card": json.loads((directory / "card.json").read_text())}


def assert_same(one: Path, other: Path) -> None:
    first, second = content(one), content(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value.equals(second[name]) if isinstance(value, pl.DataFrame) else value == second[name]


def test_the_dataset_is_that_of_the_local_engine(cluster, files, tmp_path):
    options = PrepareOptions(skip_bad=1)
    prepare(files, tmp_path / "local", options)
    prepare(files, tmp_path / "ray", options, engine=ray_engine())
    assert_same(tmp_path / "local", tmp_path / "ray")
    card = content(tmp_path / "ray")["card"]
    assert card["reading"]["bad lines dropped"] == 1
    assert card["features"]["method"] == "learned"


def test_a_killed_worker_costs_time_only(cluster, files, tmp_path, monkeypatch):
    options, killed = PrepareOptions(skip_bad=1), tmp_path / "killed"
    prepare(files, tmp_path / "local", options)

    def dying(file, options, allowed, read=module.read_file):
        for result in read(file, options, allowed):
            yield result
            if file.name == "b.jsonl" and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(module, "read_file", dying)
    prepare(files, tmp_path / "ray", options, engine=ray_engine())
    assert killed.exists()
    assert_same(tmp_path / "local", tmp_path / "ray")


def test_a_member_of_an_archive_and_names_like_placeholders_are_read_as_locally(cluster, files, tmp_path, monkeypatch):
    named = pl.read_parquet(files[2]).with_columns(pl.lit("<anonymous vip>").alias("user"))
    named.write_csv(tmp_path / "vip.csv")
    monkeypatch.chdir(tmp_path)
    sources = ["d.zip/two.csv", "d.zip/one.csv", "vip.csv", "a.csv"]
    prepare(sources, tmp_path / "local")
    prepare(sources, tmp_path / "ray", engine=ray_engine())
    assert_same(tmp_path / "local", tmp_path / "ray")


@pytest.mark.parametrize("allowed", [1, 2])
def test_lines_that_cannot_be_parsed_count_over_all_files(cluster, files, tmp_path, monkeypatch, allowed):
    monkeypatch.chdir(tmp_path)
    files[1].write_text(files[1].read_text() + '{"user": "u1", \n')
    options, found = PrepareOptions(skip_bad=allowed), []
    for out, engine in (("local", None), ("ray", ray_engine())):
        try:
            prepare(["a.csv", "b.jsonl", "e.csv"], tmp_path / out, options, engine=engine)
            found.append(content(tmp_path / out)["card"]["reading"])
        except DataError as error:
            found.append(str(error))
    assert found[0] == found[1]
    assert isinstance(found[0], str) == (allowed == 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PrepareOptions(), "e.csv: line 82: rating 'no number' is not a number"),
        (PrepareOptions(read=ReadOptions(columns={"rating": "nothing"})), "nothing"),
    ],
)
def test_an_unusable_line_or_file_is_the_error_of_the_local_engine(cluster, files, tmp_path, options, message):
    with pytest.raises(DataError, match=message) as here:
        prepare(files, tmp_path / "out", options)
    with pytest.raises(DataError) as there:
        prepare(files, tmp_path / "out", options, engine=ray_engine())
    assert str(there.value) == str(here.value)
    assert not (tmp_path / "out").exists()
