"""Read JSON lines, or the elements of a JSON array; a chunk that fails is bisected until the bad lines are isolated."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from gavamoe.data.readers.json_array import array_chunks, is_array
from gavamoe.data.readers.lines import Chunk, chunks, read_start
from gavamoe.data.readers.prefetch import prefetch
from gavamoe.data.readers.rows import LINE, BadLines, string_schema
from gavamoe.errors import DataError

INSPECTED_LINES = 100


class JsonLinesReader:
    """Read a JSON lines file, or a file with one array of objects.

    Args:
        path: the file, plain, gzip or zstd.
        bad: collects the unusable lines.
    """

    def __init__(self, path: Path, bad: BadLines) -> None:
        self.path = path
        self.bad = bad
        self._is_python = False
        self._chunks = array_chunks if is_array(read_start(path, 4096)) else chunks
        self.columns = self._find_columns()

    def batches(self, wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the wanted fields as strings, with `line`; a nested value is returned as its JSON text."""
        fields = string_schema([name.partition(".")[0] for name in wanted])
        for chunk in prefetch(self._chunks(self.path)):
            frame = self._parse(_from_python(chunk) if self._is_python else chunk, fields)
            yield frame.select(*(_field(name) for name in wanted), pl.col(LINE))

    def _parse(self, chunk: Chunk, fields: dict[str, pl.DataType]) -> pl.DataFrame:
        """Parse a chunk at once, or by bisection if that fails."""
        frame = _parse_json(chunk.data, fields)
        lines = chunk.data.count(b"\n") + (not chunk.data.endswith(b"\n"))
        if frame is not None and frame.height == lines:
            return frame.with_columns(pl.int_range(chunk.line, chunk.line + lines, dtype=pl.UInt32).alias(LINE))
        numbered = list(chunk.numbered())
        return pl.concat([pl.DataFrame(schema={**fields, LINE: pl.UInt32}), *self._bisect(numbered, fields)])

    def _bisect(self, numbered: list[tuple[int, bytes]], fields: dict[str, pl.DataType]) -> list[pl.DataFrame]:
        """Parse lines and bisect at each failure: k bad lines among n cost about k log n parses."""
        if not numbered:
            return []
        frame = _parse_json(b"\n".join(line for _, line in numbered), fields)
        if frame is not None and frame.height == len(numbered):
            return [frame.with_columns(pl.Series(LINE, [number for number, _ in numbered], dtype=pl.UInt32))]
        if len(numbered) == 1:
            number, line = numbered[0]
            self.bad.report(self.path, number, _describe_error(line))
            return []
        middle = len(numbered) // 2
        return self._bisect(numbered[:middle], fields) + self._bisect(numbered[middle:], fields)

    def _find_columns(self) -> list[str]:
        """Return the fields of the first objects; nested fields are named outer.inner."""
        start = read_start(self.path, 1 << 20) if self._chunks is chunks else next(array_chunks(self.path)).data
        self._is_python = start.startswith(b"{'")
        found: dict[str, None] = {}
        for line in start.split(b"\n")[:INSPECTED_LINES]:
            try:
                record = json.loads(_python_to_json(line) if self._is_python else line)
            except (ValueError, RecursionError):
                continue  # batches() reports the line
            for name, value in record.items() if isinstance(record, dict) else ():
                found[name] = None
                if isinstance(value, dict):
                    found.update(dict.fromkeys(f"{name}.{inner}" for inner in value))
        if not found:
            number, line = next(next(self._chunks(self.path)).numbered(), (1, b""))
            raise DataError(f"{self.path}: line {number}: {_describe_error(line)}")
        return list(found)


def _from_python(chunk: Chunk) -> Chunk:
    """Convert lines that are Python dicts, as in the Amazon metadata of 2014, to JSON."""
    return Chunk(b"\n".join(map(_python_to_json, chunk.data.split(b"\n"))), chunk.line)


def _python_to_json(line: bytes) -> bytes:
    try:
        return json.dumps(ast.literal_eval(line.decode("utf-8"))).encode()
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return line  # later reported as a line that is not JSON


def _parse_json(data: bytes, fields: dict[str, pl.DataType]) -> pl.DataFrame | None:
    """Parse JSON lines; None if a line fails."""
    try:
        return pl.read_ndjson(io.BytesIO(data), schema=fields)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):  # OSError: bytes that look compressed
        return None


def _field(name: str) -> pl.Expr:
    """Select a field, or a nested field outer.inner from the JSON text of the outer one."""
    outer, _, inner = name.partition(".")
    return pl.col(outer).str.json_path_match(f"$['{inner}']").alias(name) if inner else pl.col(outer)


def _describe_error(line: bytes) -> str:
    """Describe why a line is not a usable JSON object."""
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return f"not UTF-8 text at byte {error.start + 1}"
    except json.JSONDecodeError as error:
        return f"not JSON ({error.msg} at column {error.colno})"
    except (ValueError, RecursionError):
        return "not JSON that can be read"
    return "a value that JSON does not allow" if isinstance(value, dict) else "expected a JSON object with named fields"
