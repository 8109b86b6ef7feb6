"""The duration of a training that may be interrupted and resumed, or killed."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from types import TracebackType

from gavamoe.files import write_json

SECONDS = "training_seconds.json"  # in the directory of a system while it is trained
INTERVAL = 10.0  # seconds; a killed session loses at most as much


class TrainingTimer:
    """Counts the seconds of all sessions of a training; a context manager.

    A thread writes the sum to a file every few seconds and at the end of the session, so that an interrupted session
    counts too. The next session continues from the file.

    Args:
        path: a JSON file {"seconds": ...}; read if it exists.
        interval: seconds between two writes.
    """

    def __init__(self, path: Path, interval: float = INTERVAL):
        self.path, self.interval = path, interval
        self.before = float(json.loads(path.read_text(encoding="utf-8"))["seconds"]) if path.is_file() else 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write_regularly, daemon=True)
        self.started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds of earlier sessions and of this one so far."""
        return self.before + time.perf_counter() - self.started

    def __enter__(self) -> TrainingTimer:
        """Start to count."""
        self.started = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and write the sum, whether the training finished or was interrupted."""
        self._stopped.set()
        self._thread.join()
        write_json(self.path, {"seconds": self.seconds})

    def _write_regularly(self) -> None:
        while not self._stopped.wait(self.interval):
            write_json(self.path, {"seconds": self.seconds})
