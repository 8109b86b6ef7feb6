"""The web application: routes of the API, health, metrics, administration and the page."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from gavamoe import __version__
from gavamoe.errors import InputError
from gavamoe.service.answers import ClientGoneError
from gavamoe.service.gatekeeper import CLIENT_GONE, Gatekeeper
from gavamoe.service.plans import RefusedError
from gavamoe.service.routes_browse import browse
from gavamoe.service.routes_explain import explaining
from gavamoe.service.routes_operate import operating, reload_in_background
from gavamoe.service.served_run import NoTextsError
from gavamoe.service.service import Service

STATIC = Path(__file__).parent / "static"
SHOWN = 3  # validation errors in the one line of an answer


def create_app(service: Service) -> FastAPI:
    """Return the application of a service; its shutdown closes the service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        signals = threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGHUP")
        if signals:
            loop.add_signal_handler(signal.SIGHUP, reload_in_background, service)
        yield
        if signals:
            loop.remove_signal_handler(signal.SIGHUP)
        service.stopping = True
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="GaVaMoE",
        version=__version__,
        description='Explanations of recommendations. Errors are `{"error": one line}`.',
        lifespan=lifespan,
        docs_url=None,  # the pages of FastAPI load scripts from other hosts
        redoc_url=None,
    )
    app.state.service = service
    app.add_middleware(
        Gatekeeper,
        api_key=service.settings.api_key,
        max_body=service.settings.max_body,
        metrics=service.metrics,
    )
    for router in (explaining, browse, operating):
        app.include_router(router)
    _handle_errors(app)
    if service.settings.page:
        app.mount("/static", StaticFiles(directory=STATIC, check_dir=False), name="static")
        app.add_api_route("/", _page, include_in_schema=False)
    return app


def _page() -> Response:
    if not (STATIC / "index.html").is_file():
        return JSONResponse({"error": "this installation has no page; install the package again"}, 404)
    return FileResponse(STATIC / "index.html", media_type="text/html")


def _handle_errors(app: FastAPI) -> None:
    """Answer every error with one line in JSON."""

    @app.exception_handler(RefusedError)
    def refused(request: Request, error: RefusedError) -> Response:
        headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        return JSONResponse({"error": error.line}, error.status, headers)

    @app.exception_handler(NoTextsError)
    def without_texts(request: Request, error: NoTextsError) -> Response:
        return JSONResponse({"error": str(error)}, 409)

    @app.exception_handler(InputError)
    def unusable(request: Request, error: InputError) -> Response:
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(ClientGoneError)
    def gone(request: Request, error: ClientGoneError) -> Response:
        return Response(status_code=CLIENT_GONE)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        errors = error.errors()
        if any(each["type"] == "json_invalid" for each in errors):
            return JSONResponse({"error": "the body is not valid JSON"}, 400)
        lines = [f"{'.'.join(map(str, each['loc'][1:])) or each['loc'][0]}: {each['msg']}" for each in errors[:SHOWN]]
        more = f"; and {len(errors) - SHOWN} more" if len(errors) > SHOWN else ""
        return JSONResponse({"error": _one_line("; ".join(lines) + more)}, 422)

    @app.exception_handler(HTTPException)
    def failed(request: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": str(error.detail)}, error.status_code, dict(error.headers or {}))


def _one_line(text: str, longest: int = 500) -> str:
    """Return a text in one printable line: a location may quote a field's name from the request."""
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return plain if len(plain) <= longest else plain[:longest] + "…"
