"""Read and write files safely: a file appears under its name only when it is complete.

staged_file, staged_directory    write to a temporary path, then rename
write_json, write_json_lines     the same for JSON
reading                          turn the errors of a damaged file into one line that names the file
sha256_of_file                   checksum of a file's content
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gavamoe.errors import InputError, RunError


@contextmanager
def staged_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, delete it on any failure or Ctrl-C."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    staged = Path(name)
    try:
        yield staged
        staged.chmod(0o666 & ~_umask())
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)


@contextmanager
def staged_directory(path: Path | str) -> Iterator[Path]:
    """Yield a temporary directory beside `path`; it replaces `path` on success. On failure `path` is unchanged."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield staged
        staged.chmod(0o777 & ~_umask())
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
            os.replace(path, old / path.name)
            os.replace(staged, path)
            shutil.rmtree(old)
        else:
            os.replace(staged, path)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


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
    """Exceptions of a failed read. Polars has its own; if it was never imported, it cannot have raised one."""
    errors = (OSError, ValueError, KeyError, TypeError, AttributeError)
    polars = sys.modules.get("polars")
    return errors if polars is None else (*errors, polars.exceptions.PolarsError)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
