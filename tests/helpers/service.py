"""Services for tests, and a gate that holds the worker of one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from gavamoe.pipeline.explanation_store import ExplanationStore
from gavamoe.service.served_run import ServedRun
from gavamoe.service.service import Service
from gavamoe.service.settings import ServiceSettings


def open_service(run: ServedRun, store: str | None, **options: Any) -> Service:
    settings = ServiceSettings(store=store, **options)
    return Service(run, settings, ExplanationStore(store) if store else None)


class Gate:
    """Holds the worker before each group of jobs until it is opened."""

    def __init__(self) -> None:
        self.open, self.reached = threading.Event(), threading.Event()
        self.sizes: list[int] = []
        self.groups: set[Any] = set()  # jobs of one group may share a batch

    def hold(self, service: Service) -> None:
        perform = service.worker.perform

        def wait_and_perform(jobs: list[Any]) -> Any:
            self.reached.set()
            assert self.open.wait(60)
            self.sizes.append(len(jobs))
            self.groups |= {job.group for job in jobs}
            return perform(jobs)

        service.worker.perform = wait_and_perform


def pair(user: str, item: str, **fields: Any) -> dict[str, Any]:
    return {"user": user, "item": item, **fields}


def explain(*pairs: dict[str, Any], **fields: Any) -> tuple[str, str, dict[str, Any]]:
    return "POST", "/v1/explain", {"pairs": list(pairs), **fields}


def events(text: str) -> list[tuple[str, Any]]:
    """Read the server-sent events of a stream."""
    import json

    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def metric(service: Service, name: str, **labels: str) -> float:
    return service.metrics.registry.get_sample_value(name, labels) or 0.0


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def send_raw(
    service: Service,
    method: str,
    path: str,
    chunks: Sequence[bytes] = (),
    query: bytes = b"",
    gone: Callable[[], bool] = lambda: False,
    spec_version: str = "2.3",
) -> tuple[int, bytes]:
    """Send a request without a length as a server would, and leave as soon as `gone` says so.

    From version 2.4 of the ASGI specification on, nothing can be sent to a client that left.
    """
    from gavamoe.service.app import create_app

    left, sent = list(chunks), []

    async def receive() -> dict[str, Any]:
        if left:
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}
        while not gone():
            await asyncio.sleep(0.005)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await asyncio.sleep(0)  # as where the connection is slow
        if spec_version >= "2.4" and gone():
            raise OSError("the client left")
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "raw_path": path.encode()}
    scope |= {"query_string": query, "http_version": "1.1", "scheme": "http", "root_path": ""}
    scope |= {"client": ("127.0.0.1", 1)}
    scope |= {"headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]}
    scope |= {"asgi": {"version": "3.0", "spec_version": spec_version}}
    asyncio.run(create_app(service)(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    return (sent[0]["status"] if sent else 0), body
