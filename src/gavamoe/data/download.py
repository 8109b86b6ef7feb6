"""Fetching a file over a connection that may break: what has arrived is kept, and the rest is asked for again."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from http.client import HTTPException
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
    _check(part, url, sha256)
    os.replace(part, path)


class _CutShortError(OSError):
    """The connection closed before all bytes had come."""


def _fetch_rest(url: str, part: Path, on_bytes: OnBytes | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": f"gavamoe/{__version__}"} | ({"Range": f"bytes={have}-"} if have else {})
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
        resumed = response.status == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        with part.open("ab" if resumed else "wb") as file:
            while block := response.read1(BLOCK):
                file.write(block)
                have += len(block)
                if on_bytes:
                    on_bytes(have, total)
    if total is not None and have < total:
        raise _CutShortError(f"the connection closed after {have:,} of {total:,} bytes")


def _check(part: Path, url: str, sha256: str | None) -> None:
    if sha256 is None:
        return
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        part.unlink()
        raise DataError(f"{url}: the file has the SHA-256 {found}, expected {sha256}; it was removed, fetch it again")
