"""Runs the service in this process until it is told to stop (SIGTERM, Ctrl-C); SIGHUP reloads the run."""

from __future__ import annotations

import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from gavamoe.errors import InputError, RunError
from gavamoe.pipeline.explanation_store import ExplanationStore, open_store
from gavamoe.service.app import create_app
from gavamoe.service.logs import log_as_json
from gavamoe.service.routes_operate import reload_in_background
from gavamoe.service.served_run import ServedRun
from gavamoe.service.service import Service
from gavamoe.service.settings import ServiceSettings

BACKLOG = 2048


def serve(path: Path, settings: ServiceSettings, open_page: bool, on_ready: Callable[[str, Service], None]) -> None:
    """Serve a run; return after an orderly shutdown, in which accepted requests were finished.

    Args:
        path: the run directory.
        settings: where to listen, limits and store.
        open_page: whether to open the page in a browser.
        on_ready: receives the address and the service as soon as requests are answered.

    Raises:
        InputError: The run, the store or the port cannot be used, or the worker died.
    """
    settings.check()
    with _hangups_noted() as hung_up:
        _serve(path, settings, open_page, on_ready, hung_up)


def _serve(
    path: Path,
    settings: ServiceSettings,
    open_page: bool,
    on_ready: Callable[[str, Service], None],
    hung_up: threading.Event,
) -> None:
    """Serve a run as `serve` says.

    Args:
        path, settings, open_page, on_ready: those of `serve`.
        hung_up: set if a SIGHUP arrived before the application handles it; the run is then read again.
    """
    store = connect_store(settings.store)
    listener = listen(settings.host, settings.port)
    try:
        run = ServedRun.load(path, settings.verify)
        log_as_json()
        service = Service(run, settings, store)
        config = uvicorn.Config(
            create_app(service),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=settings.shutdown_seconds,
        )

        def ready() -> None:
            on_ready(address_of(listener), service)
            if hung_up.is_set():
                reload_in_background(service)

        server = _Server(config, ready)
        if open_page:
            server.opens = address_of(listener)
        service.worker.on_death = server.stop
        with _uvicorn_handles_signals():
            server.run(sockets=[listener])
        if service.worker.died:
            raise RunError("the worker that owns the model has died, and the log says why; start the service again")
    finally:
        listener.close()


def connect_store(url: str | None) -> ExplanationStore | None:
    """Return the store; one on this machine must open now, a server may come up later.

    Raises:
        InputError: The URL cannot be used, or the SQLite file cannot be opened.
    """
    if url is None:
        return None
    store = ExplanationStore(url)
    return open_store(url) if store.engine.dialect.name == "sqlite" else store


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        InputError: The address cannot be used.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot listen on {host} port {port}: {reason}; choose another --host or --port") from None


def address_of(listener: socket.socket) -> str:
    """Return the URL of a listening socket, as a browser on this machine reaches it."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # a socket on :: takes no IPv4
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _hangups_noted() -> Iterator[threading.Event]:
    """Note a SIGHUP that arrives while the run is loaded, instead of ending the process."""
    hung_up = threading.Event()
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGHUP"):
        yield hung_up
        return
    before = signal.signal(signal.SIGHUP, lambda *_: hung_up.set())
    try:
        yield hung_up
    finally:
        signal.signal(signal.SIGHUP, before)


@contextmanager
def _uvicorn_handles_signals() -> Iterator[None]:
    """Make an orderly shutdown the end of the matter: uvicorn raises the signal again when it has finished."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Server(uvicorn.Server):
    """A server that says when it answers."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]):
        super().__init__(config)
        self.on_ready, self.opens = on_ready, ""

    def stop(self) -> None:
        """Begin an orderly shutdown, from any thread."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self.on_ready()
            if self.opens:
                threading.Thread(target=webbrowser.open, args=(self.opens,), daemon=True).start()
