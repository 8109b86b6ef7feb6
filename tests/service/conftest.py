"""The service of a tiny run in this process, a browser with the service as a process, and a mock of it for failures."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi", reason="the service needs the extra 'serve'")

import httpx2
from helpers.service import Gate, open_service
from helpers.serving import served_mock, served_run

from gavamoe.service.served_run import ServedRun
from gavamoe.service.service import Service

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


@pytest.fixture(scope="session")
def served(run_path: Path) -> ServedRun:
    return ServedRun.load(run_path)


@pytest.fixture
def make_service(served: ServedRun, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Make services that are closed after the test; options are those of `ServiceSettings`."""
    made: list[Service] = []
    gates: list[Gate] = []

    def make(
        store: str | None = "sqlite", run: ServedRun = served, gate: Gate | None = None, **options: Any
    ) -> Service:
        url = f"sqlite:///{tmp_path}/store-{len(made)}.sqlite" if store == "sqlite" else store
        service = open_service(run, url, **options)
        if gate is not None:
            gate.hold(service)
            gates.append(gate)
        made.append(service)
        return service

    yield make
    for gate in gates:
        gate.open.set()
    for service in made:
        service.close()


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    return make_service()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def ask() -> Callable[..., Any]:
    """Send requests at the same time and return their responses in order."""

    def ask(
        service: Service, *requests: tuple[Any, ...], headers: dict[str, str] | None = None
    ) -> list[httpx2.Response]:
        from gavamoe.service.app import create_app

        async def send() -> list[httpx2.Response]:
            transport = httpx2.ASGITransport(app=create_app(service))
            async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=120) as client:
                return list(
                    await asyncio.gather(
                        *(
                            client.request(method, path, json=body[0] if body else None, headers=headers)
                            for method, path, *body in requests
                        )
                    )
                )

        return asyncio.run(send())

    return ask


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name == "gavamoe-worker"]
    assert len(left) <= 1  # the one of a service that is closed right after the test
