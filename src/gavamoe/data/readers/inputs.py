"""Input files: a file on disk, a pipe, or a table inside an archive, named by a path such as data.zip/reviews.csv."""

from __future__ import annotations

import atexit
import fnmatch
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from gavamoe.data.readers.containers import (
    NESTED,
    Member,
    archive_kind,
    explain_errors,
    list_members,
    open_member,
)
from gavamoe.data.readers.reading import shorten_list, shortened
from gavamoe.errors import DataError
from gavamoe.files import sha256_of_file

WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
# Members of archives that never hold reviews.
IGNORED_FOLDERS = ("__MACOSX",)
IGNORED_NAMES = ("readme", "license", "licence", "copying", "changelog", "_success", "_committed", "_started")
IGNORED_SUFFIXES = (
    *(".md", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".html", ".htm", ".css", ".js"),
    *(".py", ".ipynb", ".r", ".sh", ".pl", ".doc", ".docx", ".rst", ".crc", ".npy", ".npz"),
)


class EmptyFileError(DataError):
    """A file without content: an error if it is the only source, ignored among others."""


@dataclass
class InputFile:
    """A table's bytes: a regular file, a pipe that was read whole, or a member of an archive.

    Args:
        path: the path that names it; for a member, the path of the archive and the name of the member.
        file: the regular file that holds the bytes.
        members: the member of the file, the member of that member, and so on.
        head: the first bytes of a member whose archive is slow to read; None if they were not kept.
        sheet: the sheet of a workbook that the path names; empty for all.
    """

    path: Path
    file: Path
    members: tuple[str, ...] = ()
    head: bytes | None = None
    sheet: str = ""
    containers: tuple[str, ...] = field(default=(), init=False)
    _copy: Any = field(default=None, init=False, repr=False)

    @property
    def place(self) -> str:
        """The file, for messages."""
        return shortened(self.path)

    @property
    def member(self) -> str:
        """The name inside the outermost archive; empty for a file of its own."""
        return "/".join(map(_safe, self.members))

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open for decompressed reading.

        Raises:
            DataError: the file cannot be read.
        """
        with explain_errors(self.place):
            opened = open_member(self.file, self.members, self.place)
        self.containers = tuple(opened.containers)
        try:
            yield opened.stream
        finally:
            opened.close()

    def start(self, size: int) -> bytes:
        """Return the first bytes of the decompressed file, for detecting its format."""
        if self.head is not None and len(self.head) >= size:
            return self.head[:size]
        return next(self.blocks(size), b"")

    def blocks(self, size: int) -> Iterator[bytes]:
        """Yield the decompressed bytes in blocks of `size` bytes; only the last one is shorter."""
        line = 1
        with self.open() as stream:
            while True:
                block = _read_full(stream, size, self.place, line)
                if not block:
                    return
                yield block
                line += block.count(b"\n")

    def on_disk(self) -> Path:
        """Return a regular file with the decompressed bytes, for libraries that read files by themselves.

        A plain file is returned itself. Otherwise a temporary copy is made, which is removed with this object.
        """
        self.start(1)
        if not self.containers:
            return self.file
        if self._copy is None:
            self._copy = tempfile.NamedTemporaryFile(prefix="gavamoe-")  # noqa: SIM115
            for block in self.blocks(1 << 20):
                self._copy.write(block)
            self._copy.flush()
        return Path(self._copy.name)


def _read_full(stream: IO[bytes], size: int, place: str, line: int) -> bytes:
    """Read `size` bytes, fewer only at the end."""
    parts: list[bytes] = []
    with explain_errors(place, line):
        while size > 0 and (part := stream.read(size)):
            parts.append(part)
            size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class Pipes:
    """Copies of the pipes of this process, since a pipe can be read only once and readers read several times."""

    def __init__(self) -> None:
        self._copies: dict[tuple[str, int, int], Path] = {}
        self._directory: Path | None = None

    def copy(self, path: Path) -> Path:
        """Return a file with all bytes of the pipe."""
        status = path.stat()
        key = (str(path), status.st_dev, status.st_ino)
        if key not in self._copies:
            if self._directory is None:
                self._directory = Path(tempfile.mkdtemp(prefix="gavamoe-"))
                atexit.register(self.clear)
            target = self._directory / f"pipe-{len(self._copies)}"
            with path.open("rb") as pipe, target.open("wb") as file:
                shutil.copyfileobj(pipe, file, 1 << 20)
            self._copies[key] = target
        return self._copies[key]

    def clear(self) -> None:
        """Remove the copies."""
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._copies, self._directory = {}, None


PIPES = Pipes()


def locate(path: Path) -> InputFile:
    """Find the input that a path names: a file, a pipe, or a member of an archive.

    Raises:
        DataError: there is no such file or member, or it is a directory.
    """
    try:
        status = path.stat()
    except NotADirectoryError:
        return _locate_member(path)
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise DataError(f"{shortened(path)} {reason}") from None
    except ValueError:  # a NUL in the name
        raise DataError(f"{shortened(path)} is not a file name") from None
    if stat.S_ISDIR(status.st_mode):
        raise DataError(
            f"{shortened(path)} is a directory: name the review files in it, for example {shortened(path)}/*.jsonl.gz"
        )
    if stat.S_ISREG(status.st_mode):
        return InputFile(path, path)
    try:
        return InputFile(path, PIPES.copy(path))
    except OSError as error:
        raise DataError(f"{shortened(path)} cannot be read: {error.strerror or error}") from None


def sha256_of_input(path: Path) -> str:
    """Return the SHA-256 of the file that holds an input: of an archive the whole file, of a pipe what it said."""
    return sha256_of_file(locate(path).file)


def list_tables(input_file: InputFile) -> list[InputFile] | None:
    """List the members of an archive that may be tables, also those of archives in it; None for any other file.

    Raises:
        DataError: the archive cannot be read, or has no such member.
    """
    found = list(_walk(input_file)) if _archive(input_file) else None
    if found == []:
        raise DataError(f"{input_file.place} is an archive without a table of reviews")
    return found


def _walk(archive: InputFile) -> Iterator[InputFile]:
    """Yield the members that may be tables, depth first."""
    for member in _members(archive):
        if _is_ignored(member.name):
            continue
        inner = InputFile(archive.path / _safe(member.name), archive.file, (*archive.members, member.name), member.head)
        if len(inner.members) < NESTED and _archive(inner):
            inner.head = None
            yield from _walk(inner)
        else:
            yield inner


def _archive(input_file: InputFile) -> str:
    """Return the kind of an archive; empty for any other file."""
    if input_file.head is not None and not input_file.head.startswith((b"PK", b"\x1f\x8b", b"BZh", b"\xfd7z")):
        is_tar = input_file.head[257:262] == b"ustar"
        if not is_tar and not input_file.head.startswith(b"\x28\xb5\x2f\xfd"):
            return ""
    with explain_errors(input_file.place), input_file.open() as stream:
        return archive_kind(stream)


def _members(archive: InputFile) -> list[Member]:
    with explain_errors(archive.place), archive.open() as stream:
        return list_members(stream, archive_kind(stream), archive.place)


def _is_ignored(name: str) -> bool:
    *folders, last = name.replace("\\", "/").split("/")
    last = last.lower()
    return (
        not last
        or last.startswith(".")
        or any(folder in IGNORED_FOLDERS for folder in folders)
        or last.startswith(IGNORED_NAMES)
        or last.endswith(IGNORED_SUFFIXES)
    )


def _safe(name: str) -> str:
    """Return a member's name as a relative path without `..`, so that joined to a path it stays below that path."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")) or "_"


def _locate_member(path: Path) -> InputFile:
    """Find the member that a path inside an archive names."""
    file = next(parent for parent in path.parents if parent.exists())
    outer = locate(file)
    wanted = path.relative_to(file).as_posix()
    tables = list_tables(outer)
    if tables is None and outer.start(4) in WORKBOOKS:
        return InputFile(path, outer.file, sheet=wanted)
    if tables is None:
        raise DataError(f"{shortened(path)} does not exist: {shortened(file)} is a file and no archive")
    found = [table for table in tables if table.member == wanted or fnmatch.fnmatchcase(table.member, wanted)]
    if len(found) != 1:
        names = shorten_list(table.member for table in found or tables)
        raise DataError(
            f"{shortened(file)} has {'several members' if found else 'no member'} {shortened(wanted)}; it has {names}"
        )
    return found[0]
