"""Text files as chunks of whole lines: plain, gzip or zstd, read once, in bounded memory, with line numbers."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gavamoe.errors import DataError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK_BYTES = 16 << 20
LONGEST_LINE = 64 << 20
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
UTF8_MARK, UTF16_MARKS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")


class EmptyFileError(DataError):
    """A file without anything in it: an error where it is the only one, and passed over among others."""


@dataclass(frozen=True)
class Chunk:
    """Whole lines of a file, the last one possibly without its line end.

    Args:
        data: the bytes.
        line: the number of the first line in the file, from 1.
    """

    data: bytes
    line: int

    def numbered(self) -> Iterator[tuple[int, bytes]]:
        """Yield (line number, line) of the lines that are not blank."""
        for number, line in enumerate(self.data.split(b"\n"), start=self.line):
            if line.strip():
                yield number, line


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, decompressed; the compression is told by its first bytes, not by its name."""
    with _opened(path) as raw:
        start = raw.read(4)
    if start.startswith(GZIP):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return zstd.open(path, "rb") if start == ZSTD else _opened(path)  # type: ignore[return-value]


def read_start(path: Path, size: int = 1 << 16) -> bytes:
    """Return the first bytes of the decompressed file, for looking at what it is."""
    with open_bytes(path) as file:
        return _read(file, path, size, 1)


def chunks(path: Path) -> Iterator[Chunk]:
    """Yield the file in chunks of whole lines of about 16 MiB.

    Raises:
        DataError: the file is absent, empty, not UTF-8 text, or ends in the middle of its compressed stream.
    """
    line, found = 1, False
    with open_bytes(path) as file:
        while data := _read(file, path, CHUNK_BYTES, line):
            if line == 1:
                data = _without_mark(data, path)
            if not data.endswith(b"\n"):
                data += _read_line(file, path, line)
            found = True
            yield Chunk(data, line)
            line += data.count(b"\n")
    if not found:
        raise EmptyFileError(f"{path} is empty: expected reviews")


def read_blocks(path: Path) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file in blocks of about 16 MiB."""
    with open_bytes(path) as file:
        while block := _read(file, path, CHUNK_BYTES, 1):
            yield block


def _opened(path: Path) -> IO[bytes]:
    if path.is_dir():
        raise DataError(f"{path} is a directory: name the review files in it, for example {path}/*.jsonl.gz")
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _read_line(file: IO[bytes], path: Path, line: int) -> bytes:
    """Read on to the end of the line."""
    rest = _read(file, path, LONGEST_LINE, line, to_line_end=True)
    if len(rest) == LONGEST_LINE:
        raise DataError(
            f"{path}: a line after line {line} is longer than {LONGEST_LINE >> 20} MiB: not a file of reviews"
        )
    return rest


def _read(file: IO[bytes], path: Path, size: int, line: int, to_line_end: bool = False) -> bytes:
    try:
        return file.readline(size) if to_line_end else file.read(size)
    except EOFError:
        raise DataError(
            f"{path} is cut short: the compressed data ends after line {line}; fetch or copy the file again"
        ) from None
    except (zlib.error, gzip.BadGzipFile, zstd.ZstdError) as error:
        raise DataError(
            f"{path}: the compressed data is damaged after line {line} ({error}); fetch it again"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _without_mark(block: bytes, path: Path) -> bytes:
    if block.startswith(UTF16_MARKS) or b"\x00" in block[:1024]:
        raise DataError(f"{path} is not UTF-8 text: convert it first, for example with iconv -f UTF-16 -t UTF-8")
    return block.removeprefix(UTF8_MARK)
