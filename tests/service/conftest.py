"""A service of the tiny run, reached in this process: no socket, but the same application and worker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the service needs the extra 'serve'")

import httpx2
from helpers.service import Gate, open_service

from gavamoe.service.served_run import ServedRun
from gavamoe.service.service import Service


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
