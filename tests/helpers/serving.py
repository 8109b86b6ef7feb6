"""Start a service for a test: the real one as a process, the mock in a thread."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

PATIENCE = 60.0


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def served_run(run: Path, *options: str) -> Iterator[str]:
    """Run `gavamoe serve RUN` and yield its address once it is ready."""
    port = free_port()
    command = [sys.executable, "-m", "gavamoe", "serve", str(run), "--port", str(port), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    # The log goes to a file: a pipe that nobody reads would fill up and stop the service.
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            log.seek(0)
            raise AssertionError(f"gavamoe serve ended: {log.read().decode()}")
        try:
            with urlopen(f"{url}/health/ready", timeout=2):
                return
        except (URLError, HTTPError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise AssertionError(f"gavamoe serve is not ready after {PATIENCE} s")


@contextmanager
def served_mock(app: Any) -> Iterator[str]:
    """Serve an application in a thread and yield its address."""
    import uvicorn

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def ask(url: str, path: str, body: Any = None) -> Any:
    """Return the JSON that a service answers to a GET, or to a POST where a body is given."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"{url}{path}", data, {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def quoted(name: str) -> str:
    return quote(name, safe="")
