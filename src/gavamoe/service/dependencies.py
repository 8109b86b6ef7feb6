"""What routes are given: the service, the run of this request, and a way to see that the client left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import Request

from gavamoe.service.schemas import ErrorAnswer
from gavamoe.service.served_run import ServedRun
from gavamoe.service.service import Service

MEANINGS = {
    400: "The body is not valid JSON.",
    401: "The API key is missing or wrong.",
    403: "The request comes from another site or for another host.",
    409: "The run that is served writes no texts.",
    413: "The body or the list of pairs is too long.",
    422: "A value is missing or impossible.",
    429: "The queue is full; Retry-After says when to try again.",
    500: "A fault of the service.",
    503: "The worker or the store is not available.",
    504: "The deadline passed.",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": meaning} for status, meaning in MEANINGS.items()
}


def service_now(request: Request) -> Service:
    """Return the service."""
    service: Service = request.app.state.service
    return service


def run_now(request: Request) -> ServedRun:
    """Return the run that answers this request, and note its id for the headers and the log."""
    run: ServedRun = request.app.state.service.run
    request.state.run = run.id
    return run


async def _service(request: Request) -> Service:
    return service_now(request)


async def _run(request: Request) -> ServedRun:
    return run_now(request)


ServiceNow = Annotated[Service, Depends(_service)]
RunNow = Annotated[ServedRun, Depends(_run)]


def client_gone(request: Request) -> Callable[[], Awaitable[None]]:
    """Return a function that returns when the client has left; the body must have been read."""

    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return wait
