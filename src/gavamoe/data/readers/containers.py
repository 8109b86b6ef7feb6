"""Open compressed files and the members of archives as streams, in bounded memory and without unpacking to disk.

file -> gzip, bzip2, xz, zstd (the first bytes decide) -> zip or tar -> member -> again, up to NESTED levels
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from gavamoe.data.readers.reading import shortened
from gavamoe.errors import DataError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NESTED = 3
MOST_MEMBERS = 20_000
# More data than this, and more than BOMB_RATIO times the size of the file, is refused: review texts shrink 3 to 20
# times.
BOMB_BYTES = 512 << 20
BOMB_RATIO = 250
HEAD_BYTES = 1 << 20
MOST_HEADS = 32
COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
OFFICE = ("[Content_Types].xml", "mimetype")  # members that make a zip an Office or OpenDocument file
READ_ERRORS = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zstd.ZstdError,
    zipfile.BadZipFile,
    tarfile.TarError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    OverflowError,
)


def most_unpacked(packed: int) -> int:
    """Return how many bytes may come out of a file of `packed` bytes."""
    return max(BOMB_BYTES, BOMB_RATIO * packed)


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Args:
        name: the name in the archive.
        size: the size that the archive states, in bytes.
        head: the first bytes, if reading them again would be slow; None otherwise.
    """

    name: str
    size: int
    head: bytes | None = None


class Stream(io.RawIOBase):
    """A decompressed stream that limits how much data comes out of how small a file.

    Args:
        inner: a seekable stream.
        packed: size of the file on disk; 0 for no limit.
        place: the file, for messages.
    """

    def __init__(self, inner: IO[bytes], packed: int, place: str) -> None:
        super().__init__()
        self._inner = inner
        self._limit = most_unpacked(packed) if packed else sys.maxsize
        self._place = place

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in the decompressed data."""
        return self._inner.tell()

    def seek(self, position: int, whence: int = 0) -> int:
        """Move to a position; forwards by reading, so that the limit holds."""
        if whence == 0 and position > self._inner.tell():
            while (rest := position - self._inner.tell()) > 0 and self.read(min(rest, 1 << 20)):
                pass
            return self._inner.tell()
        return self._inner.seek(position, whence)

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes.

        Raises:
            DataError: the file unpacks to far more data than reviews do.
        """
        size = -1 if size is None else size
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        data = self._inner.read(size)
        if self._inner.tell() > self._limit:
            raise DataError(
                f"{self._place} unpacks to more than {BOMB_RATIO} times its size, as a zip bomb does: not read; "
                "unpack it first if you trust it"
            )
        return data

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, as io.BufferedReader asks for."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the stream and the one below."""
        if not self.closed:
            self._inner.close()
            super().close()


@dataclass
class Opened:
    """An open stream, and the containers that were opened for it.

    Args:
        stream: the decompressed data.
        containers: names of the containers, the outermost first.
        layers: the streams to close, the innermost last.
    """

    stream: IO[bytes]
    containers: list[str]
    layers: list[Any]

    def close(self) -> None:
        """Close all streams."""
        for layer in reversed(self.layers):
            layer.close()


def open_member(file: Path, names: Sequence[str], place: str) -> Opened:
    """Open a file, or a member of nested archives, for decompressed reading.

    Args:
        file: a regular file.
        names: the member of the file, the member of that member, and so on.
        place: the file, for messages.
    """
    raw = file.open("rb")
    opened = Opened(raw, [], [raw])
    packed = file.stat().st_size
    try:
        _decompress(opened, packed, place)
        for name in names:
            _enter(opened, name, packed, place)
            _decompress(opened, packed, place)
    except BaseException:
        opened.close()
        raise
    return opened


def archive_kind(stream: IO[bytes]) -> str:
    """Return `zip`, `tar`, or an empty text for anything else; an Office document is no archive."""
    start = _start(stream, 512)
    if start.startswith(ZIP):
        with zipfile.ZipFile(stream) as archive:
            return "" if {*OFFICE} & {*archive.namelist()} else "zip"
    if start[257:262] == b"ustar":
        return "tar"
    return "tar" if _is_old_tar(start) else ""


def list_members(stream: IO[bytes], kind: str, place: str) -> list[Member]:
    """List the regular files of an archive.

    Raises:
        DataError: the archive has too many members, or states that it unpacks to far more data than reviews do.
    """
    return _list_zip(stream, place) if kind == "zip" else _list_tar(stream, place)


@contextmanager
def explain_errors(place: str, line: int = 1) -> Iterator[None]:
    """Turn the errors of decompression into DataError, with the line up to which the data is complete."""
    try:
        yield
    except DataError:
        raise
    except EOFError:
        raise DataError(
            f"{place} is cut short: the compressed data ends at line {line} or later; fetch or copy the file again"
        ) from None
    except (NotImplementedError, RuntimeError) as error:
        raise DataError(f"{place} cannot be unpacked ({shortened(error, 120)}): unpack it first") from None
    except OSError as error:
        if error.errno is not None and not isinstance(error, gzip.BadGzipFile):
            raise DataError(f"{place} cannot be read: {error.strerror or error}") from error
        raise _damaged(place, line, error) from error
    except READ_ERRORS as error:
        raise _damaged(place, line, error) from error


def _damaged(place: str, line: int, error: Exception) -> DataError:
    return DataError(
        f"{place}: the compressed data is damaged after line {line} ({shortened(error, 120)}); fetch it again"
    )


def _decompress(opened: Opened, packed: int, place: str) -> None:
    """Open the compressions around the stream, at most NESTED."""
    for _ in range(NESTED):
        start = _start(opened.stream, 10)
        name = next((name for magic, name in COMPRESSIONS.items() if start.startswith(magic)), None)
        if name is None or (name == "bzip2" and not _is_bzip2(start)):
            return
        opener = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open, "zstd": zstd.open}[name]
        inner = cast(IO[bytes], opener(opened.stream, "rb"))  # type: ignore[operator]
        _push(opened, cast(IO[bytes], Stream(inner, packed, place)), name)


def _is_bzip2(start: bytes) -> bool:
    return len(start) >= 10 and start[3:4].isdigit() and start[4:10] in (b"1AY&SY", b"\x17rE8P\x90")


def _enter(opened: Opened, name: str, packed: int, place: str) -> None:
    """Open a member of the archive that the stream is."""
    kind = archive_kind(opened.stream)
    opened.stream.seek(0)
    if kind == "zip":
        archive = zipfile.ZipFile(opened.stream)
        opened.layers.append(archive)
        member = archive.open(name)
    elif kind == "tar":
        tar = tarfile.open(fileobj=opened.stream, mode="r:")  # noqa: SIM115 (closed with the other layers)
        opened.layers.append(tar)
        found = next((entry for entry in tar if entry.name == name and entry.isreg()), None)
        member = tar.extractfile(found) if found else None  # type: ignore[assignment]
        if member is None:
            raise DataError(f"{place} has no member {shortened(name, 120)}")
    else:
        raise DataError(f"{place} is no archive: {shortened(name, 120)} is not in it")
    _push(opened, cast(IO[bytes], Stream(member, packed, place)), kind)


def _push(opened: Opened, stream: IO[bytes], name: str) -> None:
    opened.stream = stream
    opened.layers.append(stream)
    opened.containers.append(name)


def _start(stream: IO[bytes], size: int) -> bytes:
    """Return the first bytes of a stream and go back to its start."""
    stream.seek(0)
    start = b""
    while len(start) < size and (block := stream.read(size - len(start))):
        start += block
    stream.seek(0)
    return start


def _is_old_tar(start: bytes) -> bool:
    """Return whether 512 bytes are the header of a tar without the `ustar` mark; its checksum decides."""
    if len(start) < 512:
        return False
    try:
        stated = int(start[148:156].rstrip(b"\0 ").strip() or b"x", 8)
    except ValueError:
        return False
    return stated == sum(start[:148]) + 8 * 32 + sum(start[156:]) and start[:1] != b"\0"


def _list_zip(stream: IO[bytes], place: str) -> list[Member]:
    with zipfile.ZipFile(stream) as archive:
        # Not `is_dir`, which fails for a member without a name.
        entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
    size, packed = sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries)
    if size > most_unpacked(packed):
        raise DataError(
            f"{place} states {size >> 20:,} MiB in {packed >> 10:,} KiB, as a zip bomb does: not read; unpack it first "
            "if you trust it"
        )
    _check_count(len(entries), place)
    return [Member(entry.filename, entry.file_size) for entry in entries]


def _list_tar(stream: IO[bytes], place: str) -> list[Member]:
    """List a tar; of a compressed one, keep the first bytes of the members, as each pass unpacks the whole file."""
    members: list[Member] = []
    compressed = isinstance(stream, Stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream, mode="r:") as tar:
        for entry in tar:
            if not entry.isreg():
                continue
            _check_count(len(members) + 1, place)
            file = tar.extractfile(entry) if compressed and len(members) < MOST_HEADS else None
            members.append(Member(entry.name, entry.size, file.read(HEAD_BYTES) if file else None))
    return members


def _check_count(count: int, place: str) -> None:
    if count > MOST_MEMBERS:
        raise DataError(f"{place} has more than {MOST_MEMBERS:,} members: unpack it, and name the files of reviews")
