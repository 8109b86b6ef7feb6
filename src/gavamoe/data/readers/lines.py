"""Read text files (plain, gzip or zstd) in chunks of whole lines, in bounded memory and with line numbers."""

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
UTF8_BOM, UTF16_BOMS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")


class EmptyFileError(DataError):
    """A file without content: an error if it is the only source, ignored among others."""


@dataclass(frozen=True)
class Chunk:
    """Whole lines of a file; the last one may lack its line end.

    Args:
        data: the bytes.
        line: the line number of the first one in the file, from 1.
    """

    data: bytes
    line: int

    def numbered(self) -> Iterator[tuple[int, bytes]]:
        """Yield (line number, line) for the lines that are not blank."""
        for number, line in enumerate(self.data.split(b"\n"), start=self.line):
            if line.strip():
                yield number, line


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for decompressed reading; its first bytes determine the compression, not its name."""
    with _open_raw(path) as raw:
        start = raw.read(4)
    if start.startswith(GZIP):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return zstd.open(path, "rb") if start == ZSTD else _open_raw(path)  # type: ignore[return-value]


def read_start(path: Path, size: int = 1 << 16) -> bytes:
    """Return the first bytes of the decompressed file, for detecting its format."""
    with open_bytes(path) as file:
        return _read(file, path, size, 1)


def chunks(path: Path) -> Iterator[Chunk]:
    """Yield the file in chunks of whole lines of about 16 MiB.

    Raises:
        DataError: the file is missing, is not UTF-8 text, or its compressed data is damaged or cut short.
        EmptyFileError: the file is empty.
    """
    line, found = 1, False
    with open_bytes(path) as file:
        while data := _read(file, path, CHUNK_BYTES, line):
            if line == 1:
                data = _without_bom(data, path)
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


def _open_raw(path: Path) -> IO[bytes]:
    """Open a file without decompression."""
    if path.is_dir():
        raise DataError(f"{path} is a directory: name the review files in it, for example {path}/*.jsonl.gz")
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _read_line(file: IO[bytes], path: Path, line: int) -> bytes:
    """Read to the end of the current line."""
    rest = _read(file, path, LONGEST_LINE, line, to_line_end=True)
    if len(rest) == LONGEST_LINE:
        raise DataError(
            f"{path}: a line after line {line} is longer than {LONGEST_LINE >> 20} MiB: not a file of reviews"
        )
    return rest


def _read(file: IO[bytes], path: Path, size: int, line: int, to_line_end: bool = False) -> bytes:
    """Read at most `size` bytes, and turn the errors of decompression into DataError."""
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


def _without_bom(block: bytes, path: Path) -> bytes:
    """Remove a UTF-8 byte order mark from the first block; refuse UTF-16 and binary data."""
    if block.startswith(UTF16_BOMS) or b"\x00" in block[:1024]:
        raise DataError(f"{path} is not UTF-8 text: convert it first, for example with iconv -f UTF-16 -t UTF-8")
    return block.removeprefix(UTF8_BOM)
