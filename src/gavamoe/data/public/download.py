"""Fetching a file over a connection that may break: what has arrived is kept, and the rest is asked for again.

Beside what has arrived lies a note of which file it is the beginning of (its ETag or date, and its size), so that the
rest of a file that has changed since is never put behind it: then the fetch begins again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from gavamoe import __version__
from gavamoe.errors import DataError

BLOCK = 1 << 18
# Attempts without a single new byte, after which the server is given up.
FRUITLESS_ATTEMPTS = 4
TIMEOUT_SECONDS = 60.0
PAUSE_SECONDS = 1.0

OnBytes = Callable[[int, int | None], None]


def download(url: str, path: Path, sha256: str | None = None, on_bytes: OnBytes | None = None) -> None:
    """Fetch `url` as `path`, which appears only when it is complete; `path`.part keeps what has arrived until then.

    Args:
        url: the address.
        path: where the file goes.
        sha256: the checksum it must have, where one is known.
        on_bytes: called with the bytes there are and the bytes there will be (None where unknown), for progress.

    Raises:
        DataError: the file cannot be had, or does not have the checksum; says what to do.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    fruitless = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _fetch_rest(url, part, on_bytes)
            break
        except HTTPError as error:
            raise DataError(f"{url}: the server answers {error.code} {error.reason}: see the set's page") from error
        except (URLError, HTTPException, OSError) as error:
            arrived = part.stat().st_size if part.exists() else 0
            fruitless = 0 if arrived > before else fruitless + 1
            if fruitless >= FRUITLESS_ATTEMPTS:
                reason = getattr(error, "reason", error)
                raise DataError(
                    f"{url}: {reason}; {arrived:,} bytes are kept, run the command again to go on"
                ) from error
            time.sleep(PAUSE_SECONDS * fruitless)
    _note(part).unlink(missing_ok=True)
    _check(part, url, sha256)
    os.replace(part, path)


class _CutShortError(OSError):
    """The connection closed before all bytes had come."""


@dataclass(frozen=True)
class _Begun:
    """Which file a part is the beginning of; empty and None where the server does not say."""

    validator: str
    size: int | None

    @classmethod
    def answered(cls, headers: HTTPMessage) -> _Begun:
        tag, length = headers.get("ETag", ""), headers.get("Content-Length", "")
        strong = "" if tag.startswith("W/") else tag  # a weak tag does not promise the same bytes
        return cls(strong or headers.get("Last-Modified", ""), int(length) if length.isdigit() else None)

    @classmethod
    def read(cls, part: Path) -> _Begun | None:
        """Read the note beside a part; without one nothing tells what the part is, and it is of no use."""
        try:
            return cls(**json.loads(_note(part).read_text(encoding="utf-8"))) if part.exists() else None
        except (OSError, ValueError, TypeError):
            return None


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _fetch_rest(url: str, part: Path, on_bytes: OnBytes | None) -> None:
    begun = _Begun.read(part)
    if begun is None:
        part.unlink(missing_ok=True)
    have = part.stat().st_size if begun else 0
    headers = {"User-Agent": f"gavamoe/{__version__}"}
    if begun and have:
        headers["Range"] = f"bytes={have}-"
        if begun.validator:
            headers["If-Range"] = begun.validator
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        complete = error.headers.get("Content-Range", "").rpartition("/")[2]
        if error.code == 416 and complete == str(have):  # nothing is left to ask for
            return
        if error.code in (416, 500, 502, 503, 504):  # the server is busy, or its file is not the one begun with
            if error.code == 416:
                part.unlink()
            raise _CutShortError(f"the server answers {error.code} {error.reason}") from error
        raise
    with response:
        if response.status == 206 and begun:
            _check_is_rest(response.headers, have, begun, part)
        else:
            have, begun = 0, _Begun.answered(response.headers)
            part.unlink(missing_ok=True)
            _note(part).write_text(json.dumps(asdict(begun)), encoding="utf-8")
        with part.open("ab") as file:
            while block := response.read1(BLOCK):
                file.write(block)
                have += len(block)
                if on_bytes:
                    on_bytes(have, begun.size)
    if begun.size is not None and have != begun.size:
        raise _CutShortError(f"the connection closed after {have:,} of {begun.size:,} bytes")


def _check_is_rest(headers: HTTPMessage, have: int, begun: _Begun, part: Path) -> None:
    """Check that what comes continues the part: it starts where the part ends, and the whole has the size it had."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    now = _Begun.answered(headers).validator
    same_size = found and found.group(2) in ("*", str(begun.size))
    if not found or int(found.group(1)) != have or not same_size or (now and now != begun.validator):
        part.unlink()
        raise _CutShortError("the server's file is not the one that was begun: it is fetched from the beginning")


def _check(part: Path, url: str, sha256: str | None) -> None:
    if sha256 is None:
        return
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        part.unlink()
        raise DataError(f"{url}: the file has the SHA-256 {found}, expected {sha256}; it was removed, fetch it again")
