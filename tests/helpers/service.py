"""Services for tests, and a gate that holds the worker of one."""

from __future__ import annotations

import threading
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

    def hold(self, service: Service) -> None:
        perform = service.worker.perform

        def wait_and_perform(jobs: list[Any]) -> Any:
            self.reached.set()
            assert self.open.wait(60)
            self.sizes.append(len(jobs))
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
