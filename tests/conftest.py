"""Shared worlds: a prepared dataset and a trained run, both small, made once per worker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from gavamoe.config import RunConfig, parse_config

torch.set_num_threads(1)  # the workers share the cores

TINY = {
    "preference": {"clusters": 3, "latent": 8, "embedding": 8, "hidden": 16, "pretrain_epochs": 4, "epochs": 4, "restarts": 2},
    "explainer": {
        "hidden": 32,
        "layers": 2,
        "heads": 2,
        "vocabulary": 400,
        "expert_width": 32,
        "side_width": 8,
        "epochs": 3,
        "max_tokens": 24,
        "batch_size": 32,
        "learning_rate": 5e-3,
    },
}


@pytest.fixture(scope="session")
def tiny_config() -> RunConfig:
    return parse_config(TINY)


@pytest.fixture(scope="session")
def reviews_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from gavamoe.data.simulate import World, simulate, write_reviews

    path = tmp_path_factory.mktemp("world") / "reviews.jsonl.gz"
    write_reviews(simulate(World(users=40, items=20, reviews=500, clusters=3)), path)
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


def shared_folder(variable: str, default: str) -> Path:
    """Where development data lies, when it is there."""
    return Path(os.environ.get(variable, Path(__file__).parents[1] / ".." / "shared" / default)).resolve()
