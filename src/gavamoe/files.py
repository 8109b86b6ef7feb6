"""Read and write files safely: a file appears under its name only when it is complete.

make_directory                   create a directory, or say why nothing can be written there
staged_file, staged_directory    write to a temporary path, then rename
staged_files                     the same for several files that belong together
remove_directory                 delete in one step
remove_abandoned                 delete the temporary copies of killed processes
only_one_process                 a lock on a directory
write_json, write_json_lines     staged_file for JSON
reading                          turn the errors of a damaged file into one line that names the file
sha256_of_file                   checksum of a file's content
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gavamoe.errors import InputError, RunError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

WORKSPACE = ".gavamoe-tmp-"  # beginning of the names of directories with temporary copies
PREVIOUS = ".previous"  # inside such a directory: what was moved away before its successor took its place
LOCK = ".gavamoe.lock"
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # constants of Linux


def real_path(path: Path | str) -> Path:
    """Return what a path that the user named points to, so that a link stays and its target is replaced.

    Files inside runs and datasets are not resolved: copies of a run may share files by links.
    """
    return Path(os.path.realpath(path))


def make_directory(path: Path, exist_ok: bool = True) -> None:
    """Create a directory and its parents.

    Args:
        path: the directory.
        exist_ok: whether it may exist.

    Raises:
        OSError: it cannot be created. Some file systems, such as /proc, hold no files of users and report that a file
            is missing, as a fault of the program would: that is a `PermissionError` here.
    """
    with _creating(path):
        path.mkdir(parents=True, exist_ok=exist_ok)


@contextmanager
def _creating(path: Path) -> Iterator[None]:
    """Guard the creation of a file or directory; see `make_directory`."""
    try:
        yield
    except FileNotFoundError as error:
        place = str(Path(error.filename or path).parent)
        raise PermissionError(errno.EACCES, "no file can be created in it", place) from error


@contextmanager
def staged_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path with the name of `path`; move it to `path` on success, delete it on any failure.

    The temporary file lies in a hidden directory beside `path` (`_workspace`).
    """
    path = Path(path)
    with _workspace(path.parent) as workspace:
        staged = workspace / path.name
        staged.touch()
        yield staged
        _share_mode(staged, workspace)
        os.replace(staged, path)


@contextmanager
def staged_directory(path: Path | str) -> Iterator[Path]:
    """Yield a temporary directory with the name of `path`; it replaces `path` on success, in one step if possible.

    On failure `path` is unchanged. The temporary directory lies in a hidden directory beside `path` (`_workspace`).
    """
    path = Path(path)
    with _workspace(path.parent) as workspace:
        staged = workspace / path.name
        staged.mkdir()
        yield staged
        for file in staged.rglob("*"):
            if file.is_file():
                _share_mode(file, workspace)
        _move_directory(staged, path, workspace)


@contextmanager
def staged_files(directory: Path) -> Iterator[Path]:
    """Yield a temporary directory; its files move into `directory` when all are complete, and on failure none does."""
    with _workspace(directory) as workspace:
        staged = workspace / "files"
        staged.mkdir()
        yield staged
        for file in sorted(staged.iterdir()):
            _share_mode(file, workspace)
            os.replace(file, directory / file.name)


def remove_directory(path: Path) -> None:
    """Delete a directory: under its name it is complete or absent, also if the process is killed meanwhile."""
    if path.is_dir():
        with _workspace(path.parent) as workspace:
            os.replace(path, workspace / path.name)


def is_temporary(path: Path) -> bool:
    """Return whether a path is a temporary copy of `staged_file` or `staged_directory`, or a file that holds a lock."""
    return path.name == LOCK or (path.name.startswith(WORKSPACE) and path.is_dir())


def remove_abandoned(directory: Path) -> None:
    """Delete the temporary copies in `directory` that killed processes left; those in use are kept.

    A dataset or a part of a run that was moved away and not yet replaced is moved back to its place.
    """
    if fcntl is None:  # what is in use cannot be told
        return
    for workspace in directory.glob(f"{WORKSPACE}*"):
        handle = _lock_directory(workspace)
        if handle is None:
            continue
        try:
            for moved_away in (workspace / PREVIOUS).glob("*"):
                if not (directory / moved_away.name).exists():
                    os.replace(moved_away, directory / moved_away.name)
            shutil.rmtree(workspace, ignore_errors=True)
        finally:
            os.close(handle)


@contextmanager
def only_one_process(directory: Path, work: str) -> Iterator[None]:
    """Hold the lock of a directory that exists while the block runs; a killed process loses its lock.

    Args:
        directory: the directory; the lock is its hidden file `.gavamoe.lock`.
        work: what the block does, such as "training", for the message.

    Raises:
        RunError: another process holds the lock.
        OSError: the lock cannot be created.
    """
    from filelock import FileLock, Timeout  # slow to import

    with _creating(directory / LOCK):  # filelock would take a directory without files for a locked one
        os.close(os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o644))
    lock = FileLock(directory / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            f"another process is {work} {directory}; wait until it has ended, or choose another directory"
        ) from None
    try:
        yield
    finally:
        (directory / LOCK).unlink(missing_ok=True)  # while it is held: whoever waits for it notices
        lock.release()


@contextmanager
def _workspace(parent: Path) -> Iterator[Path]:
    """Yield a new hidden directory in `parent`; it is deleted afterwards.

    `parent` is created too, and deleted again if nothing was written into it. The process holds a lock on the hidden
    directory, so that others see whether it is in use (`remove_abandoned`).
    """
    created = not parent.exists()
    make_directory(parent)
    remove_abandoned(parent)
    workspace, handle = _new_name(parent), None
    try:  # from before the directory exists: a signal may raise an exception in any line
        while True:
            make_directory(workspace, exist_ok=False)
            handle = _lock_directory(workspace)
            if handle is not None:
                break
            workspace = _new_name(parent)  # another process took it for abandoned before it was locked
        yield workspace
    finally:
        _remove_surely(workspace)
        if handle is not None:
            os.close(handle)
        if created:
            with suppress(OSError):  # it is not empty
                parent.rmdir()


def _new_name(parent: Path) -> Path:
    return parent / f"{WORKSPACE}{secrets.token_hex(4)}"


def _remove_surely(directory: Path) -> None:
    """Delete a directory if it exists, also if a signal raises an exception meanwhile."""
    try:
        shutil.rmtree(directory, ignore_errors=True)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _lock_directory(path: Path) -> int | None:
    """Return a handle that holds the lock of a directory until it is closed; None if it is in use or gone."""
    if fcntl is None:
        return os.open(os.devnull, os.O_RDONLY)
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), path.stat()):
            return handle
    except OSError:
        pass
    os.close(handle)
    return None


def _share_mode(file: Path, workspace: Path) -> None:
    """Give a file the mode of a new file: some writers (safetensors) let only the owner read what they write."""
    mode = stat.S_IMODE(workspace.stat().st_mode) & 0o666  # the process's umask is in the directory's mode
    if stat.S_IMODE(file.stat().st_mode) != mode:
        file.chmod(mode)


def _move_directory(staged: Path, path: Path, workspace: Path) -> None:
    """Move a directory to `path`; an existing one there is exchanged in one step where the system can do that."""
    if path.exists() and _exchange(staged, path):
        return  # the old directory is in the workspace now, and is deleted with it
    if path.exists():
        (workspace / PREVIOUS).mkdir()
        os.replace(path, workspace / PREVIOUS / path.name)
    try:
        os.replace(staged, path)
    except OSError:
        if (workspace / PREVIOUS / path.name).exists():
            os.replace(workspace / PREVIOUS / path.name, path)
        raise


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two directories in one step (renameat2 of Linux); return False, without a change, if that fails."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is None:
        return False
    return renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON; an interrupted write leaves no file."""
    with staged_file(path) as staged:
        staged.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_json_lines(path: Path | str, rows: Iterable[Any]) -> None:
    """Write each row as one line of UTF-8 JSON; an interrupted write leaves no file."""
    with staged_file(path) as staged, staged.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Guard the code that reads a file which gavamoe wrote.

    Raises:
        RunError: reading failed, so the file is damaged or has another format. An `InputError` passes unchanged.
    """
    try:
        yield
    except InputError:
        raise
    except _read_errors():
        raise RunError(f"{path} is damaged or of another version; copy it again from where the run was made") from None


def sha256_of_file(path: Path | str) -> str:
    """Return the SHA-256 checksum of the file's bytes as a hexadecimal string."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_errors() -> tuple[type[Exception], ...]:
    """Exceptions of a failed read. Some libraries have their own; one that was never imported has raised none."""
    errors: list[type[Exception]] = [OSError, EOFError, ValueError, LookupError, TypeError, AttributeError]
    if (polars := sys.modules.get("polars")) is not None:
        errors.append(polars.exceptions.PolarsError)
    if (yaml := sys.modules.get("yaml")) is not None:
        errors.append(yaml.YAMLError)
    if (safetensors := sys.modules.get("safetensors")) is not None:
        errors.append(safetensors.SafetensorError)
    return tuple(errors)
