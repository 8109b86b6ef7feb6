"""What a command prints: one JSON object on stdout with --json, else a table a person reads; the rest to stderr."""

from __future__ import annotations

import json
import math
import sys
from typing import Any


def emit_json(value: dict[str, Any]) -> None:
    """Print ONE JSON object on stdout; NaN and infinities, which JSON lacks, become null."""
    print(json.dumps(_plain(value), ensure_ascii=False), file=sys.stdout)


def note(text: str) -> None:
    """Print a line for the person to stderr."""
    print(text, file=sys.stderr)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
