"""Download a file over an unreliable connection: a partial download is kept, and only the rest is requested again.

Beside the partial file, a JSON file records the version of the remote file (ETag or date, and size). If the remote file
has changed since, the download starts again, so that two versions are never mixed.
"""

from __future__ import annotations

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
from gavamoe.files import make_directory, sha256_of_file

BLOCK = 1 << 18
# Number of consecutive attempts without a new byte after which the download fails.
MAX_FAILED_ATTEMPTS = 4
TIMEOUT_SECONDS = 60.0
PAUSE_SECONDS = 1.0

OnBytes = Callable[[int, int | None], None]


def download(url: str, path: Path, sha256: str | None = None, on_bytes: OnBytes | None = None) -> None:
    """Download a file; `path` appears only when it is complete, and `path`.part keeps a partial download until then.

    Args:
        url: the address.
        path: the file to write.
        sha256: the expected checksum, if it is known.
        on_bytes: called with the number of bytes received and the total size (None if unknown), for progress.

    Raises:
        DataError: the file cannot be downloaded, or its checksum is wrong; says what to do.
    """
    make_directory(path.parent)
    part = path.with_name(path.name + ".part")
    failed = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _fetch_rest(url, part, on_bytes)
            break
        except HTTPError as error:
            raise DataError(
                f"{url}: the server answers {error.code} {error.reason}: see the page of the dataset"
            ) from error
        except (URLError, HTTPException, OSError) as error:
            received = part.stat().st_size if part.exists() else 0
            failed = 0 if received > before else failed + 1
            if failed >= MAX_FAILED_ATTEMPTS:
                reason = getattr(error, "reason", error)
                raise DataError(
                    f"{url}: {reason}; {received:,} bytes are kept, run the command again to continue"
                ) from error
            time.sleep(PAUSE_SECONDS * failed)
    _version_path(part).unlink(missing_ok=True)
    _check_sha256(part, url, sha256)
    os.replace(part, path)


class _RetryError(OSError):
    """The attempt ended before the file was complete, and another attempt may succeed."""


@dataclass(frozen=True)
class _RemoteVersion:
    """The version of the remote file that a partial download belongs to.

    Args:
        validator: the strong ETag, or else the date of the last change; empty if the server sends neither.
        size: size of the complete file in bytes; None if the server does not send it.
    """

    validator: str
    size: int | None

    @classmethod
    def from_headers(cls, headers: HTTPMessage) -> _RemoteVersion:
        """Read the version from the headers of a response."""
        tag, length = headers.get("ETag", ""), headers.get("Content-Length", "")
        strong = "" if tag.startswith("W/") else tag  # a weak tag does not guarantee equal bytes
        return cls(strong or headers.get("Last-Modified", ""), int(length) if length.isdigit() else None)

    @classmethod
    def load(cls, part: Path) -> _RemoteVersion | None:
        """Read the version of a partial download; None if it is unknown, so that the part cannot be used."""
        try:
            return cls(**json.loads(_version_path(part).read_text(encoding="utf-8"))) if part.exists() else None
        except (OSError, ValueError, TypeError):
            return None


def _version_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _fetch_rest(url: str, part: Path, on_bytes: OnBytes | None) -> None:
    """Make one attempt to complete a partial download; without a usable part it starts at the beginning."""
    version = _RemoteVersion.load(part)
    if version is None:
        part.unlink(missing_ok=True)
    received = part.stat().st_size if version else 0
    headers = {"User-Agent": f"gavamoe/{__version__}"}
    if version and received:
        headers["Range"] = f"bytes={received}-"
        if version.validator:
            headers["If-Range"] = version.validator
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        size = error.headers.get("Content-Range", "").rpartition("/")[2]
        if error.code == 416 and size == str(received):  # the part is already complete
            return
        if error.code in (416, 500, 502, 503, 504):  # the remote file is shorter now, or the server is busy
            if error.code == 416:
                part.unlink()
            raise _RetryError(f"the server answers {error.code} {error.reason}") from error
        raise
    with response:
        if response.status == 206 and version:
            _check_is_rest(response.headers, received, version, part)
        else:
            received, version = 0, _RemoteVersion.from_headers(response.headers)
            part.unlink(missing_ok=True)
            _version_path(part).write_text(json.dumps(asdict(version)), encoding="utf-8")
        with part.open("ab") as file:
            while block := response.read1(BLOCK):
                file.write(block)
                received += len(block)
                if on_bytes:
                    on_bytes(received, version.size)
    if version.size is not None and received != version.size:
        raise _RetryError(f"the connection closed after {received:,} of {version.size:,} bytes")


def _check_is_rest(headers: HTTPMessage, received: int, version: _RemoteVersion, part: Path) -> None:
    """Check that a response continues the part: it starts at the part's end and is of the same version and size."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    validator = _RemoteVersion.from_headers(headers).validator
    same_size = found and found.group(2) in ("*", str(version.size))
    same_validator = not validator or validator == version.validator
    if not found or int(found.group(1)) != received or not same_size or not same_validator:
        part.unlink()
        raise _RetryError("the file on the server has changed: the download starts again")


def _check_sha256(part: Path, url: str, sha256: str | None) -> None:
    if sha256 is None:
        return
    found = sha256_of_file(part)
    if found != sha256:
        part.unlink()
        raise DataError(
            f"{url}: the file has the SHA-256 {found}, expected {sha256}; it was removed, download it again"
        )
