"""Routes for those who run the service: health, metrics and reload."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from gavamoe.errors import InputError
from gavamoe.service.dependencies import ERRORS, ServiceNow
from gavamoe.service.plans import RefusedError
from gavamoe.service.schemas import ErrorAnswer, HealthAnswer, ReloadAnswer, ReloadRequest
from gavamoe.service.service import Service

operating = APIRouter(tags=["operation"])
_TASKS: set[asyncio.Task[None]] = set()  # the loop keeps weak references only


@operating.get("/health/live", response_model=HealthAnswer)
async def live() -> Any:
    """Answer as long as the process handles requests."""
    return {"status": "live"}


@operating.get("/health/ready", response_model=HealthAnswer, responses={503: {"model": HealthAnswer}})
async def ready(service: ServiceNow) -> Response:
    """Answer 200 if explanations can be written; 503 if the worker is dead or the service stops."""
    if service.ready:
        return JSONResponse({"status": "ready", "run": service.run.id})
    return JSONResponse({"status": "stopping" if service.stopping else "the worker is dead", "run": None}, 503)


@operating.get("/metrics", response_class=Response, responses={401: ERRORS[401], 403: ERRORS[403]})
async def metrics(service: ServiceNow) -> Response:
    """Return the metrics in the text format of Prometheus."""
    return Response(service.metrics.expose(), media_type=CONTENT_TYPE_LATEST)


@operating.post(
    "/admin/reload",
    response_model=ReloadAnswer,
    responses={
        400: {"model": ErrorAnswer, "description": "The run cannot be loaded."},
        401: ERRORS[401],
        403: ERRORS[403],
    },
)
async def reload(service: ServiceNow, body: ReloadRequest | None = None) -> Response:
    """Serve another run, or read the directory of the current run again. Requests in progress keep theirs."""
    try:
        run = await service.reload(body.run if body else None)
    except InputError as error:
        raise RefusedError(400, str(error)) from None
    return JSONResponse({"run": run.id})


def reload_in_background(service: Service) -> None:
    """Reload the run of the service without waiting; a failure is logged, and the current run stays."""

    async def reload() -> None:
        try:
            await service.reload()
        except Exception:  # logged by the service
            return

    task = asyncio.get_running_loop().create_task(reload())
    _TASKS.add(task)
    task.add_done_callback(_TASKS.discard)
