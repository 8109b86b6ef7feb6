"""Convert Python dicts, as Python 2 or 3 printed them, to JSON; nothing is evaluated."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

# Strings are matched first, so that what follows changes nothing inside them.
STRING = r"""[uUbB]{0,1}'(?:[^'\\\n]|\\.)*'|[uUbB]{0,1}"(?:[^"\\\n]|\\.)*\""""
LITERALS = re.compile(rf"({STRING})|(?<![\w.])(-?\d+)[lL]\b|(?<![\w.'\"])(-?(?:nan|inf|NaN|Infinity|null))(?![\w'\"(])")
JSON_CONSTANTS = re.compile(rb'"(?:[^"\\]|\\.)*"|(?<![\w.])-?(?:NaN|Infinity)\b')
# What JSON never contains outside its strings: a name or a value in single quotes, and Python's constants.
LOOKS_PYTHON = re.compile(rb"""[{,\[:]\s*[uU]?'|[{,\[:]\s*[uU]"|[:,\[]\s*(?:None|True|False)\b""")
LONGEST = 8 << 20


def python_to_json(line: bytes) -> bytes | None:
    """Convert a line that is a Python dict to JSON; None if it is none.

    Long integers (12L) of Python 2 and the bare names nan and inf, which no literal has, are read too; nan and inf
    become null.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return None
    value = parse_literal(text)
    return to_json(value).encode() if isinstance(value, dict) else None


def to_json(value: Any) -> str:
    """Return a value as JSON without line breaks; NaN becomes null, and what JSON lacks becomes its text."""
    try:
        return (
            json.dumps(value, default=_plain, allow_nan=False, ensure_ascii=False).encode("utf-8", "replace").decode()
        )
    except (ValueError, TypeError, RecursionError):
        return json.dumps(_without_nan(value), default=_plain).encode("utf-8", "replace").decode()


def parse_literal(text: str) -> Any:
    """Parse a Python literal; None if it is none. Only literals are read: a call or a name is not."""
    text = text.strip()
    if len(text) > LONGEST:
        return None
    for attempt in (text, None):
        try:
            return ast.literal_eval(attempt if attempt is not None else LITERALS.sub(_as_literal, text))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return None


def without_nan(data: bytes) -> bytes:
    """Replace NaN and Infinity, which Python writes into JSON, with null."""
    return JSON_CONSTANTS.sub(lambda match: match[0] if match[0].startswith(b'"') else b"null", data)


def _as_literal(match: re.Match[str]) -> str:
    return match[1] or match[2] or "None"


def _plain(value: Any) -> Any:
    """Convert a value that JSON lacks."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return list(value) if isinstance(value, set | frozenset | tuple) else str(value)


def _without_nan(value: Any, depth: int = 0) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if depth > 50:
        return None
    if isinstance(value, dict):
        return {str(name): _without_nan(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_nan(item, depth + 1) for item in value]
    return value
