"""Shared worlds: a prepared dataset and a trained run, both small, made once per worker."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from worlds import TINY

from gavamoe.config import RunConfig, parse_config

torch.set_num_threads(1)  # the workers share the cores


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
    return path


@pytest.fixture(scope="session")
def explainer(run_path: Path):
    from gavamoe.explainer.explainer import Explainer

    return Explainer.from_pretrained(run_path)
