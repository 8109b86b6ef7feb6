"""Shared worlds: a prepared dataset and a trained run, both small, made once per worker."""

from __future__ import annotations

import gc
import gzip
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.command_line import CommandLine, Finished, kept_process_state
from helpers.worlds import TINY
from hypothesis import settings

from gavamoe.config import RunConfig, parse_config

torch.set_num_threads(1)  # the workers share the cores
os.environ["HF_HUB_OFFLINE"] = "1"  # a base model that does not exist is not asked for on the network, with retries

# Other work on the machine must not turn a slow example into a failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that have slow tests, so that at the end no worker is left alone with a long file."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Exempt imported modules from garbage collection: accelerate collects after each training, half a second long."""
    gc.freeze()


Row = dict[str, Any]
ASPECTS = ("story", "ending", "music")


@pytest.fixture(scope="session")
def tiny_config() -> RunConfig:
    return parse_config(TINY)


@pytest.fixture(scope="session")
def reviews_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from gavamoe.data.simulate import World, simulate
    from gavamoe.data.tables import write_table

    path = tmp_path_factory.mktemp("world") / "reviews.jsonl.gz"
    write_table(simulate(World(users=40, items=20, reviews=500, clusters=3)), path)
    return path


@pytest.fixture(scope="session")
def dataset_path(reviews_file: Path) -> Path:
    from gavamoe.data.prepare import PrepareOptions, prepare

    path = reviews_file.parent / "data"
    prepare([str(reviews_file)], path, PrepareOptions())
    return path


@pytest.fixture(scope="session")
def run_path(dataset_path: Path, tiny_config: RunConfig) -> Path:
    from gavamoe.pipeline.train import train_run

    path = dataset_path.parent / "run"
    train_run(dataset_path, path, tiny_config, preset="tiny")
    gc.freeze()  # what the first training has imported
    return path


@pytest.fixture(scope="session")
def ratings_file(reviews_file: Path) -> Path:
    """The ratings of `reviews_file` without their texts."""
    import polars as pl

    path = reviews_file.parent / "ratings.csv"
    pl.read_ndjson(gzip.decompress(reviews_file.read_bytes())).select("user", "item", "rating").write_csv(path)
    return path


@pytest.fixture(scope="session")
def ratings_path(ratings_file: Path) -> Path:
    """The prepared dataset of `ratings_file`: the reviews of `dataset_path` without texts."""
    from gavamoe.data.prepare import PrepareOptions, prepare

    path = ratings_file.parent / "ratings-data"
    prepare([str(ratings_file)], path, PrepareOptions())
    return path


@pytest.fixture(scope="session")
def rating_run_path(ratings_path: Path, tiny_config: RunConfig) -> Path:
    """A run of stage 1 alone, trained on ratings without texts."""
    from gavamoe.pipeline.train import train_run

    path = ratings_path.parent / "rating-run"
    train_run(ratings_path, path, tiny_config, preset="tiny", stage="preference")
    return path


@pytest.fixture(scope="session")
def explainer(run_path: Path):
    from gavamoe.explainer.explainer import Explainer

    return Explainer.from_pretrained(run_path)


@pytest.fixture
def gavamoe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Run the command line in this process: (exit code, stdout, stderr)."""
    from gavamoe.cli.main import main

    def run(*arguments: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["gavamoe", *map(str, arguments)])
        with kept_process_state(), pytest.raises(SystemExit) as stop:
            main()
        return Finished(stop.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[[str, Iterable[Row]], Path]:
    """Write rows as JSON lines under tmp_path; gzip where the name ends with .gz."""

    def write(name: str, rows: Iterable[Row]) -> Path:
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


@pytest.fixture
def reviews() -> list[Row]:
    """120 reviews by 12 users of 10 items, each pair once, with ratings 1..5."""
    return [
        {
            "user": f"u{user}",
            "item": f"i{item}",
            "rating": 1 + (user + item) % 5,
            "text": f"u{user}: the {ASPECTS[user % 3]} is great but the {ASPECTS[(user + item) % 3]} was dull",
            "timestamp": 1_500_000_000 + 1000 * (user * 10 + item),
        }
        for user in range(12)
        for item in range(10)
    ]


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Find a real review file, or skip: such data is not part of the repository."""

    def find(name: str) -> Path:
        beside = Path(__file__).parents[2] / "shared" / "data"
        path = Path(os.environ.get("GAVAMOE_DATA", beside)) / name
        if not path.exists():
            pytest.skip(f"{path} is absent: set GAVAMOE_DATA to a directory that holds {name}")
        return path

    return find
