"""Files that are whole or not there: what we write appears under its name only when it is complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.errors import InputError, RunError


@contextmanager
def staged_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there on success, remove it on any failure or Ctrl-C."""
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
    """Yield a temporary directory beside `path`; on success it replaces `path`, on failure `path` is as it was."""
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
    """Write `value` as indented UTF-8 JSON, whole or not at all."""
    with staged_file(path) as staged:
        staged.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_json_lines(path: Path | str, rows: Iterable[Any]) -> None:
    """Write each row as a line of UTF-8 JSON, all of them or none."""
    with staged_file(path) as staged, staged.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def sha256_of_file(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes as stored (compressed if the file is), in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever fails while `path` is read as what we wrote becomes a `RunError` with its name."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pl.exceptions.PolarsError):
        raise RunError(f"{path} is damaged or of another version; copy it again from where the run was made") from None
