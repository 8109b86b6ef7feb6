"""Read JSON lines, arrays and documents; a chunk that fails is bisected until the bad lines are isolated."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import polars as pl

from gavamoe.data.readers import lines
from gavamoe.data.readers.inputs import EmptyFileError
from gavamoe.data.readers.json_documents import find_records, is_empty, is_record, records_at, records_in
from gavamoe.data.readers.json_values import DOCUMENT_BYTES, json_values, one_document
from gavamoe.data.readers.lines import REMEDY, Chunk, TextFile
from gavamoe.data.readers.prefetch import prefetch
from gavamoe.data.readers.python_values import LOOKS_PYTHON, python_to_json, to_json, without_nan
from gavamoe.data.readers.reading import Reading
from gavamoe.data.readers.rows import LINE, BadLines, string_schema
from gavamoe.errors import DataError

HEAD_BYTES = 1 << 20  # of a file, in which its fields are looked for
HALF_CHARACTER = re.compile("[\\ud800-\\udfff]")
NAN = re.compile(rb"[:\[,]\s*-?(?:NaN|Infinity)\b")
TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[\[\]{}]')
# MongoDB writes {"$oid": ".."}, {"$date": {"$numberLong": ".."}} and the like for plain values.
MONGO = r'^\{\s*"\$[A-Za-z]+"\s*:\s*(?:\{\s*"\$[A-Za-z]+"\s*:\s*)?(?:"([^"]*)"|([^"{}\[\],\s]+))\s*\}?\s*\}$'


class JsonReader:
    """Read a file of JSON or Python objects: one a line, in an array, over several lines, or in one document.

    Args:
        text: the file.
        bad: collects the unusable lines.
        records: the path of the list of records inside each object; None to find it in a document.
    """

    def __init__(self, text: TextFile, bad: BadLines, records: str | None = None) -> None:
        self.path = text.source.path
        self.bad = bad
        self._text = text
        self._records = records
        self._found_at = ""
        self._is_python = False
        self._document: list[dict[str, Any]] | None = None
        self._format = self._find_format()
        self.columns, self._mongo = self._find_columns()

    @property
    def reading(self) -> Reading:
        """Return how the file was read."""
        at = self._records or self._found_at
        notes = ("objects are Python dicts",) if self._is_python else ()
        return self._text.reading(self._format, notes, at, self._records is not None)

    def batches(self, wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the wanted fields as strings, with LINE; a nested value is returned as its JSON text."""
        fields = string_schema(list(dict.fromkeys(part for name in wanted for part in self._outer(name))))
        for chunk in prefetch(self._chunks()):
            frame = self._parse(_from_python(chunk) if self._is_python else chunk, fields)
            columns = {name: self._field(frame, name) for name in wanted}
            yield pl.DataFrame({**columns, LINE: frame[LINE]})

    def objects(self) -> Iterator[tuple[int, Any]]:
        """Yield (line number, value) with the types that JSON gives.

        Raises:
            DataError: a line is not JSON.
        """
        for chunk in self._chunks():
            for number, line in (_from_python(chunk) if self._is_python else chunk).numbered():
                try:
                    yield number, json.loads(line)
                except (ValueError, RecursionError):
                    raise DataError(f"{self._text.place}, line {number}: {self._describe_error(line)}") from None

    def _outer(self, name: str) -> list[str]:
        """Return the fields of an object that may hold a column: the one of that name, or the one around it."""
        return [name] if name in self._flat or "." not in name else [name.partition(".")[0]]

    def _field(self, frame: pl.DataFrame, name: str) -> pl.Series:
        """Return a field, or a nested field outer.inner from the JSON text of the outer one."""
        field = frame[self._outer(name)[0]]
        if field.name != name:
            inner = name.partition(".")[2].replace("\\", "\\\\").replace("'", "\\'")
            field = field.str.json_path_match(pl.lit(f"$['{inner}']")) if _is_plain(inner) else _nested(field, inner)
        if name in self._mongo:
            found = field.to_frame("value").select(
                pl.coalesce(
                    pl.col("value").str.extract(MONGO, 1), pl.col("value").str.extract(MONGO, 2), pl.col("value")
                )
            )
            field = found["value"]
        return field.alias(name)

    def _find_format(self) -> str:
        """Find how the objects are laid out; a document is read here."""
        start = self._text.peek().lstrip("\ufeff \t\r\n")
        if start.startswith("["):
            return "json array"
        first, second = self._first_lines(start)
        if first and second and (_object(first) is not None or _object(second) is not None or not _is_open(first)):
            return "json lines"
        if first and not second and _object(first) is None and not _is_open(first):
            return "json lines"
        document = one_document(self._text)
        if document is None:
            return "json objects"
        if not isinstance(document, dict) or (self._records is None and is_record(document)):
            if isinstance(document, dict) and self._records is None and is_empty(document):
                raise EmptyFileError(f"{self._text.place} has no reviews")
            return "json lines" if first and not second else "json objects"
        self._document, self._found_at = find_records(document, self._records, self._text.place)
        if not self._document:
            raise EmptyFileError(f"{self._text.place} has no reviews")
        return "json document"

    def _first_lines(self, start: str) -> tuple[bytes, bytes]:
        """Return the first two lines that are not blank; empty ones if the first does not end."""
        if "\n" not in start and "\r" not in start and not self._has_lines():
            return b"", b""
        found: list[bytes] = []
        for chunk in self._text.chunks(HEAD_BYTES):
            found += [line for _, line in islice(chunk.numbered(), 2)]
            if len(found) > 1:
                break
        return (*found, b"", b"")[0], (*found, b"", b"")[1]

    def _has_lines(self) -> bool:
        """Return whether the first line ends within the longest line."""
        size = 0
        for block in self._text.text_blocks():
            size += len(block)
            if "\n" in block or "\r" in block:
                return True
            if size > lines.LONGEST_LINE:
                return False
        return True

    def _chunks(self) -> Iterator[Chunk]:
        """Yield the records as JSON lines."""
        if self._document is not None:
            yield from _to_chunks(map(to_json, self._document), self._text.place)
            return
        chunks = (
            self._text.chunks()
            if self._format == "json lines"
            else _to_chunks(json_values(self._text, DOCUMENT_BYTES if self._records else None), self._text.place)
        )
        yield from _to_chunks(self._inner_records(chunks), self._text.place) if self._records else chunks

    def _inner_records(self, chunks: Iterator[Chunk]) -> Iterator[str]:
        """Yield the records inside each object as JSON."""
        value: Any = None
        found = False
        for chunk in chunks:
            for number, line in chunk.numbered():
                value = _object(line)
                if value is None:
                    self.bad.report(self.path, number, self._describe_error(line), self._remedy(line))
                    continue
                for record in records_in(value, self._records or ""):
                    found = True
                    yield to_json(record)
        if not found and value is not None:
            records_at(value, self._records or "", self._text.place)  # says what there is instead

    def _parse(self, chunk: Chunk, fields: dict[str, pl.DataType]) -> pl.DataFrame:
        """Parse a chunk at once, or by bisection if that fails."""
        lines = chunk.data.count(b"\n") + (not chunk.data.endswith(b"\n"))
        frame = _parse_json(chunk.data, fields)
        if frame is None or frame.height != lines:
            frame, chunk = self._parse_repaired(frame, chunk, fields)
        if frame is not None and frame.height == lines:
            return frame.with_columns(pl.int_range(chunk.line, chunk.line + lines, dtype=pl.UInt32).alias(LINE))
        numbered = list(chunk.numbered())
        return pl.concat([pl.DataFrame(schema={**fields, LINE: pl.UInt32}), *self._bisect(numbered, fields)])

    def _parse_repaired(
        self, frame: pl.DataFrame | None, chunk: Chunk, fields: dict[str, pl.DataType]
    ) -> tuple[pl.DataFrame | None, Chunk]:
        """Parse a chunk again without NaN, and with its Python dicts converted."""
        if NAN.search(chunk.data):
            chunk = Chunk(without_nan(chunk.data), chunk.line)
            frame = _parse_json(chunk.data, fields)
        if frame is None and LOOKS_PYTHON.search(chunk.data):
            converted = _from_python(chunk)
            if converted.data != chunk.data:
                self._is_python, chunk = True, converted
                frame = _parse_json(chunk.data, fields)
        return frame, chunk

    def _bisect(self, numbered: list[tuple[int, bytes]], fields: dict[str, pl.DataType]) -> list[pl.DataFrame]:
        """Parse lines and bisect at each failure: k bad lines among n cost about k log n parses."""
        if not numbered:
            return []
        frame = _parse_json(b"\n".join(line for _, line in numbered), fields)
        if frame is not None and frame.height == len(numbered):
            return [frame.with_columns(pl.Series(LINE, [number for number, _ in numbered], dtype=pl.UInt32))]
        if len(numbered) == 1:
            number, line = numbered[0]
            self.bad.report(self.path, number, self._describe_error(line), self._remedy(line))
            return []
        middle = len(numbered) // 2
        return self._bisect(numbered[:middle], fields) + self._bisect(numbered[middle:], fields)

    def _find_columns(self) -> tuple[list[str], set[str]]:
        """Return the fields of the first objects, and those that MongoDB wraps; nested ones are named outer.inner."""
        chunks = self._text.chunks(HEAD_BYTES) if self._format == "json lines" and not self._records else self._chunks()
        found: dict[str, None] = {}
        mongo: set[str] = set()
        self._flat: set[str] = set()
        for line in _head_lines(chunks):
            record, is_python = _parse_object(line)
            if record is None:
                continue  # batches() reports the line
            self._is_python = self._is_python or is_python
            for name, value in record.items():
                found[name] = None
                self._flat.add(name)
                if _is_wrapped(value):
                    mongo.add(name)
                elif isinstance(value, dict):
                    found.update(dict.fromkeys(f"{name}.{inner}" for inner in value))
                    mongo.update(f"{name}.{inner}" for inner, item in value.items() if _is_wrapped(item))
        if not found:
            number, line = next((part for chunk in self._chunks() for part in chunk.numbered()), (1, b""))
            if not line:
                raise EmptyFileError(f"{self._text.place} has no reviews")
            raise DataError(f"{self._text.place}: line {number}: {self._describe_error(line)}")
        return list(found), mongo

    def _remedy(self, line: bytes) -> str:
        return REMEDY if self._text.not_text(line) else ""

    def _describe_error(self, line: bytes) -> str:
        """Describe why a line is not a usable JSON object."""
        problem = self._text.not_text(line)
        if problem:
            return problem
        try:
            value = json.loads(line.decode("utf-8"))
        except json.JSONDecodeError as error:
            return f"not JSON ({error.msg} at column {error.colno})"
        except (ValueError, RecursionError):
            return "not JSON that can be read"
        if value == {}:
            return "an object without fields"
        if isinstance(value, dict):
            texts = list(_texts(value))
            if any(HALF_CHARACTER.search(text) for text in texts):
                return "half of a character (a surrogate)"
            if any("\0" in text for text in texts):
                return "the character NUL (\\u0000)"
            return "a value that cannot be read, such as a number that is too large"
        return "expected a JSON object with named fields"


def _to_chunks(values: Iterator[str], place: str) -> Iterator[Chunk]:
    """Join values to chunks of about 16 MiB; the line number counts the values from 1."""
    line, held, size = 1, [], 0
    for element in values:
        held.append(element)
        size += len(element)
        if size >= lines.CHUNK_BYTES:
            yield Chunk("\n".join(held).encode("utf-8", "replace"), line)
            line, held, size = line + len(held), [], 0
    if held:
        yield Chunk("\n".join(held).encode("utf-8", "replace"), line)
    elif line == 1:
        raise EmptyFileError(f"{place} has no reviews")


def _from_python(chunk: Chunk) -> Chunk:
    """Convert the lines that are Python dicts to JSON."""
    return Chunk(
        b"\n".join(line if _is_json(line) else python_to_json(line) or line for line in chunk.data.split(b"\n")),
        chunk.line,
    )


def _head_lines(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Yield the lines that begin in the first `HEAD_BYTES` of a file."""
    size = 0
    for chunk in chunks:
        for line in chunk.data.split(b"\n"):
            if size >= HEAD_BYTES:
                return
            size += len(line) + 1
            yield line


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return not line.strip()
    return True


def _object(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object or Python dict of a line; None if it is neither."""
    return _parse_object(line)[0]


def _parse_object(line: bytes) -> tuple[dict[str, Any] | None, bool]:
    """Return the JSON object or Python dict of a line, None if it is neither, and whether it was read as Python."""
    try:
        value, is_python = json.loads(line), False
    except (ValueError, RecursionError):
        converted = python_to_json(line) if line.lstrip().startswith(b"{") else None
        value, is_python = json.loads(converted) if converted else None, True
    return value if isinstance(value, dict) else None, is_python


def _texts(value: Any) -> Iterator[str]:
    """Yield the names and texts of a JSON value, of any depth."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value


def _is_open(line: bytes) -> bool:
    """Return whether a line opens more brackets than it closes, as the first line of an object over several does."""
    depth = 0
    for token in TOKENS.finditer(line.decode("utf-8", "replace")):
        depth += (token[0] in "[{") - (token[0] in "]}")
    return depth > 0


def _is_wrapped(value: Any) -> bool:
    """Return whether a value is an object of MongoDB for a plain value."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith("$")


def _is_plain(name: str) -> bool:
    """Return whether polars can find a field of this name by its path."""
    return re.fullmatch(r"[\w $@:/-]+", name) is not None


def _nested(field: pl.Series, name: str) -> pl.Series:
    """Return a nested field whose name is not plain."""

    def find(text: str) -> str | None:
        try:
            value = json.loads(text).get(name)
        except (ValueError, AttributeError, RecursionError):
            return None
        return value if value is None or isinstance(value, str) else json.dumps(value)

    return field.map_elements(find, return_dtype=pl.String)


def _parse_json(data: bytes, fields: dict[str, pl.DataType]) -> pl.DataFrame | None:
    """Parse JSON lines; None if a line fails, or has half a character, which polars turns into a NUL."""
    try:
        frame = pl.read_ndjson(io.BytesIO(data), schema=fields)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):  # OSError: bytes that look compressed
        return None
    texts = [name for name, kind in frame.schema.items() if kind == pl.String] if b"\\u" in data else []
    return None if any(frame[name].str.contains("\0", literal=True).any() for name in texts) else frame
