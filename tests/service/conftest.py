"""A browser, the service over a trained run, and a mock of it for failures."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers.serving import served_mock, served_run

if TYPE_CHECKING:
    from helpers.browser import Page
    from helpers.mock_service import Faults

# The helpers for the browser and the mock are imported by the fixtures: without their packages the tests are skipped.
REAL = importlib.util.find_spec("gavamoe.cli.serve") is not None


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from helpers.browser import chromium, find_chromium

    if find_chromium() is None:
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    with chromium(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="session")
def served_run_path(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A tiny run of which one user and one item have markup for ids."""
    import polars as pl
    from helpers.mock_service import IMAGE_ITEM, SCRIPT_USER

    from gavamoe.data.prepare import PrepareOptions, prepare
    from gavamoe.data.simulate import World as Simulated
    from gavamoe.data.simulate import simulate
    from gavamoe.data.tables import write_table
    from gavamoe.pipeline.train import train_run

    folder = tmp_path_factory.mktemp("served")
    reviews = simulate(Simulated(users=40, items=20, reviews=500, clusters=3))
    user, item = reviews["user"][0], reviews["item"][0]
    reviews = reviews.with_columns(
        user=pl.col("user").replace(user, SCRIPT_USER), item=pl.col("item").replace(item, IMAGE_ITEM)
    )
    write_table(reviews, folder / "reviews.jsonl.gz")
    prepare([str(folder / "reviews.jsonl.gz")], folder / "data", PrepareOptions())
    train_run(folder / "data", folder / "run", request.getfixturevalue("tiny_config"), preset="tiny")
    return folder / "run"


@pytest.fixture(scope="session")
def service_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The service under test: the one GAVAMOE_SERVICE_URL names, else `gavamoe serve` over a tiny run."""
    if url := os.environ.get("GAVAMOE_SERVICE_URL"):
        yield url.rstrip("/")
    elif REAL:
        with served_run(request.getfixturevalue("served_run_path")) as url:
            yield url
    else:
        from helpers.mock_service import create_app

        with served_mock(create_app()) as url:
            yield url


@pytest.fixture(scope="module")
def mock() -> Iterator[tuple[str, Any]]:
    from helpers.mock_service import create_app

    app = create_app()
    with served_mock(app) as url:
        yield url, app


@pytest.fixture
def faults(mock: tuple[str, Any]) -> Iterator[Faults]:
    """What the mock does wrong, back to nothing after the test."""
    from helpers.mock_service import Faults

    found: Faults = mock[1].state.faults
    yield found
    found.__dict__.update(Faults().__dict__)


@pytest.fixture
def page(driver: Any, service_url: str) -> Iterator[Page]:
    """The page of the service; afterwards: no error in its console, no request to another host."""
    from helpers.browser import Page

    found = Page(driver, service_url)
    found.forget()
    yield found
    assert not found.console_errors()
    assert found.hosts() == {service_url.partition("//")[2]}


@pytest.fixture
def mock_page(driver: Any, mock: tuple[str, Any], faults: Faults) -> Page:
    from helpers.browser import Page

    found = Page(driver, mock[0])
    found.forget()
    return found
