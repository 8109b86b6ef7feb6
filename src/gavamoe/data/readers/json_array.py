"""Stream a JSON array as JSON lines, one element a line, in bounded memory.

A TripAdvisor file of one hotel, {"Reviews": [...], "HotelInfo": {...}}, is read as an array of reviews with a shared
hotel.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gavamoe.data.readers import lines
from gavamoe.data.readers.lines import Chunk, EmptyFileError, read_blocks
from gavamoe.errors import DataError

HOTEL = re.compile(rb'\s*\{\s*"(Reviews|HotelInfo)"\s*:')
BETWEEN = re.compile(r"[\s,]*")
DECODER = json.JSONDecoder()


def is_array(start: bytes) -> bool:
    """Return whether the start of a file is that of an array or a hotel object, not of JSON lines."""
    return start.lstrip().startswith(b"[") or HOTEL.match(start) is not None


def array_chunks(path: Path) -> Iterator[Chunk]:
    """Yield the elements, one a line, in chunks of about 16 MiB; `line` counts the elements from 1.

    Raises:
        DataError: the file is not UTF-8 text, or an element is not JSON. Such an element cannot be skipped, since the
            start of the next one is then unknown.
        EmptyFileError: the array has no elements.
    """
    line, held, size = 1, [], 0
    for element in _elements(path):
        held.append(element)
        size += len(element)
        if size >= lines.CHUNK_BYTES:
            yield Chunk("\n".join(held).encode(), line)
            line, held, size = line + len(held), [], 0
    if held:
        yield Chunk("\n".join(held).encode(), line)
    elif line == 1:
        raise EmptyFileError(f"{path} has no reviews")


def _elements(path: Path) -> Iterator[str]:
    """Yield each element of the array as JSON without line breaks."""
    buffer, at, number, inside = "", 0, 1, False
    blocks = _decoded_blocks(path)
    while True:
        if not inside and buffer.lstrip().startswith("["):
            at, inside = buffer.index("[") + 1, True
        at = BETWEEN.match(buffer, at).end()  # type: ignore[union-attr]
        if inside and buffer.startswith("]", at):
            if buffer[at + 1 :].strip() or any(block.strip() for block in blocks):
                raise DataError(f"{path}: something follows the JSON array, which ends after element {number - 1}")
            return
        try:
            value, end = DECODER.raw_decode(buffer, at)
        except (ValueError, RecursionError) as error:
            more = next(blocks, None)
            if more is None:
                raise DataError(
                    f"{path}: line {number}: element {number} of the array is not JSON ({_reason(error)})"
                ) from None
            if len(buffer) - at > lines.LONGEST_LINE:
                raise DataError(f"{path}: element {number} of the array is not JSON, or not a review") from None
            buffer, at = buffer[at:] + more, 0
            continue
        if not inside:
            yield from _reviews_of_hotel(value, path)
            return
        # A line break between the parts of an element is white space; JSON strings encode line breaks as \n.
        yield buffer[at:end].replace("\r", " ").replace("\n", " ")
        at, number = end, number + 1


def _reviews_of_hotel(hotel: Any, path: Path) -> Iterator[str]:
    """Yield the reviews of a hotel object as JSON, each with the hotel's information added."""
    reviews = hotel.get("Reviews") if isinstance(hotel, dict) else None
    if not isinstance(reviews, list):
        raise DataError(f'{path} is one JSON object: expected one object a line, an array, or a hotel with "Reviews"')
    shared = {"HotelInfo": hotel.get("HotelInfo")}
    for review in reviews:
        yield json.dumps({**review, **shared} if isinstance(review, dict) else review)


def _decoded_blocks(path: Path) -> Iterator[str]:
    """Yield the blocks of a file as text, also where a block ends inside a UTF-8 character."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        for block in read_blocks(path):
            yield decoder.decode(block)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text ({error.reason}): convert it first, for example with iconv"
        ) from None


def _reason(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
