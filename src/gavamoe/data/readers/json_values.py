"""Stream the values of a JSON text as JSON lines, one a line: the elements of an array, or objects over several lines.

The values may also be Python literals. The memory is bounded, except for one value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from gavamoe.data.readers import lines
from gavamoe.data.readers.inputs import EmptyFileError
from gavamoe.data.readers.lines import TextFile
from gavamoe.data.readers.python_values import parse_literal, to_json
from gavamoe.errors import DataError

BETWEEN = re.compile(r"[\s\ufeff,]*")
BLANKS = re.compile(r"[\s\ufeff]*")  # files that were joined have byte order marks inside
DECODER = json.JSONDecoder()
PYTHON_TOKEN = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[\[\]{}()]""", re.DOTALL)
# The largest value; an element of an array is a review, a document holds all reviews.
DOCUMENT_BYTES = 512 << 20


def json_values(text: TextFile, longest: int | None = None) -> Iterator[str]:
    """Yield each element of an array, or each value of a text of several, as JSON without line breaks.

    Args:
        text: the file.
        longest: the most characters of a value; None for the longest line.

    Raises:
        DataError: a value is not JSON; it cannot be skipped, since the start of the next one is then unknown.
    """
    place, longest = text.place, lines.LONGEST_LINE if longest is None else longest
    blocks = text.text_blocks()
    buffer, at, number, in_array = "", 0, 1, False
    while not buffer.strip():
        block = next(blocks, None)
        if block is None:
            raise EmptyFileError(f"{place} is empty: expected reviews")
        buffer += block
    at = BLANKS.match(buffer).end()  # type: ignore[union-attr]
    if buffer[at] == "[":
        in_array, at = True, at + 1
    while True:
        at = (BETWEEN if in_array else BLANKS).match(buffer, at).end()  # type: ignore[union-attr]
        if at == len(buffer):
            block = next(blocks, None)
            if block is None:
                if in_array:
                    raise DataError(f"{place}: line {number}: element {number} of the array is not JSON (cut short)")
                return
            buffer, at = block, 0
            continue
        if in_array and buffer[at] == "]":
            if buffer[at + 1 :].strip() or any(block.strip() for block in blocks):
                raise DataError(f"{place}: something follows the JSON array, which ends after element {number - 1}")
            return
        value, end, problem = _value(buffer, at)
        if not end:
            more = next(blocks, None)
            if more is None:
                raise DataError(f"{place}: line {number}: {_name(number, in_array)} is not JSON ({problem})")
            if len(buffer) - at > longest:
                raise DataError(f"{place}: {_name(number, in_array)} is not JSON, or not a review")
            # Twice as much is read before the next try, so that a long value takes linear time.
            held = buffer[at:]
            buffer, at = held + more + _read(blocks, len(held) - len(more)), 0
            continue
        yield value
        at, number = end, number + 1


def _read(blocks: Iterator[str], size: int) -> str:
    """Read at least `size` characters, fewer at the end."""
    parts: list[str] = []
    while size > 0 and (block := next(blocks, None)) is not None:
        parts.append(block)
        size -= len(block)
    return "".join(parts)


def _value(buffer: str, at: int) -> tuple[str, int, str]:
    """Return the JSON of the value at a position, its end (0 if there is none), and why there is none."""
    try:
        _, end = DECODER.raw_decode(buffer, at)
    except (ValueError, RecursionError) as error:
        problem = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        end = _python_end(buffer, at)
        value = parse_literal(buffer[at:end]) if end else None
        return (to_json(value), end, "") if value is not None else ("", 0, problem)
    if buffer[at] not in '{["' and end == len(buffer):  # a number may go on in the next block
        return "", 0, "cut short"
    # A line break between the parts of a value is white space; JSON strings encode line breaks as \n.
    return buffer[at:end].replace("\r", " ").replace("\n", " "), end, ""


def _python_end(buffer: str, at: int) -> int:
    """Return the end of the Python dict or list at a position; 0 if it does not end or there is none."""
    if buffer[at : at + 1] not in ("{", "["):
        return 0
    depth = 0
    for token in PYTHON_TOKEN.finditer(buffer, at):
        mark = token[0]
        depth += (mark in ("[", "{", "(")) - (mark in ("]", "}", ")"))
        if depth == 0:
            return token.end()
    return 0


def _name(number: int, in_array: bool) -> str:
    return f"element {number} of the array" if in_array else f"object {number}"


def one_document(text: TextFile) -> Any | None:
    """Return the only value of a text; None if it has several."""
    values = json_values(text, DOCUMENT_BYTES)
    first = next(values)
    if next(values, None) is not None:
        return None
    try:
        return json.loads(first)
    except RecursionError:
        raise DataError(f"{text.place} is nested too deeply") from None
