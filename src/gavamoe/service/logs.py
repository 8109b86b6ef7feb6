"""Logs as one JSON object a line on stderr: requests by route and id, without names of users and texts of reviews."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

FIELDS = (
    *("event", "id", "route", "method", "status", "ms", "run", "pairs"),
    *("operation", "error", "pause", "jobs", "store", "url"),
)


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object. It keeps type and frames of an exception, whose message may quote a text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record in one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in FIELDS if getattr(record, name, None) is not None}
        if record.exc_info and record.exc_info[0] is not None:
            frames = traceback.extract_tb(record.exc_info[2])
            line["exception"] = record.exc_info[0].__name__
            line["frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]]
        return json.dumps(line, ensure_ascii=True, default=str)


def log_as_json() -> None:
    """Send the logs of the service and of uvicorn to stderr as JSON. For the process of `gavamoe serve`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("gavamoe.service", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], name == "uvicorn.error"
        logger.setLevel(logging.INFO)
    for name in ("gavamoe.service", "uvicorn"):
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).propagate = False
