"""Downloads are tested against a local server that closes each connection before the file is complete."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from gavamoe.data.public import download as downloads
from gavamoe.data.public.download import download
from gavamoe.data.public.registry import SETS, find_set
from gavamoe.errors import DataError

CONTENT = bytes(range(256)) * 4000


class BreakingServer(ThreadingHTTPServer):
    """Serves a file and closes each connection after `bytes_per_connection`; ranges and ETags can be switched off."""

    content = CONTENT
    bytes_per_connection = 300_000
    ranges = True
    tag = '"one"'
    honours_if_range = True
    status = 200
    requests: list[str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/reviews.jsonl.gz"


class Handler(BaseHTTPRequestHandler):
    server: BreakingServer

    def do_GET(self) -> None:
        range_header = self.headers.get("Range")
        self.server.requests.append(range_header)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        content, condition = self.server.content, self.headers.get("If-Range")
        found = re.match(r"bytes=(\d+)-", range_header or "")
        changed = self.server.honours_if_range and condition not in (None, self.server.tag)
        start = int(found.group(1)) if found and self.server.ranges and not changed else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : start + self.server.bytes_per_connection])

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BreakingServer]:
    monkeypatch.setattr(downloads, "PAUSE_SECONDS", 0.0)
    served = BreakingServer(("127.0.0.1", 0), Handler)
    served.requests = []
    Thread(target=served.serve_forever, daemon=True).start()
    yield served
    served.shutdown()
    served.server_close()


def test_broken_connection_is_resumed_at_the_same_byte(server: BreakingServer, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = tmp_path / "raw" / "reviews.jsonl.gz"
    download(server.url, path, hashlib.sha256(CONTENT).hexdigest(), lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def interrupt_download(server: BreakingServer, path: Path) -> None:
    """Download the first 300,000 bytes and fail."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(downloads, "MAX_FAILED_ATTEMPTS", 0)
        with pytest.raises(DataError, match="300,000 bytes are kept, run the command again"):
            download(server.url, path)
    server.requests.clear()


def test_later_call_resumes_a_partial_download(server: BreakingServer, tmp_path: Path) -> None:
    path = tmp_path / "r"
    interrupt_download(server, path)
    server.bytes_per_connection = len(CONTENT)
    download(server.url, path)
    assert (path.read_bytes(), server.requests) == (CONTENT, ["bytes=300000-"])
    assert [file.name for file in tmp_path.iterdir()] == ["r"]


@pytest.mark.parametrize(
    ("tag", "honours_if_range", "content"),
    [
        ('"two"', True, CONTENT[::-1]),  # the server sends the whole changed file
        ('"two"', False, CONTENT[::-1]),  # the server sends a range of the changed file, with its ETag
        ("", False, CONTENT[::-1] + b"more"),  # only the size shows the change
        ("", False, CONTENT[:1000]),  # the part is longer than the changed file
    ],
)
def test_changed_file_is_downloaded_from_the_start(
    server: BreakingServer, tmp_path: Path, tag: str, honours_if_range: bool, content: bytes
) -> None:
    path = tmp_path / "r"
    server.tag = tag and server.tag
    interrupt_download(server, path)
    server.tag, server.honours_if_range, server.content, server.bytes_per_connection = (
        tag,
        honours_if_range,
        content,
        len(content),
    )
    download(server.url, path)
    assert path.read_bytes() == content


def test_part_of_unknown_version_is_downloaded_again(server: BreakingServer, tmp_path: Path) -> None:
    server.bytes_per_connection = len(CONTENT)
    (tmp_path / "r.part").write_bytes(b"something else")
    download(server.url, tmp_path / "r")
    assert (tmp_path / "r").read_bytes() == CONTENT


def test_server_without_ranges_restarts_the_download(server: BreakingServer, tmp_path: Path) -> None:
    interrupt_download(server, tmp_path / "r")
    server.ranges = False
    server.bytes_per_connection = len(CONTENT)
    download(server.url, tmp_path / "r")
    assert (tmp_path / "r").read_bytes() == CONTENT


def test_server_that_sends_no_bytes_fails_and_keeps_the_part(server: BreakingServer, tmp_path: Path) -> None:
    interrupt_download(server, tmp_path / "r")
    server.bytes_per_connection = 0
    with pytest.raises(DataError, match=r"300,000 bytes are kept, run the command again"):
        download(server.url, tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_missing_file_and_wrong_checksum_are_data_errors(server: BreakingServer, tmp_path: Path) -> None:
    server.bytes_per_connection = len(CONTENT)
    with pytest.raises(DataError, match="expected 0000"):
        download(server.url, tmp_path / "r", "0000")
    assert list(tmp_path.iterdir()) == []
    server.status = 404
    with pytest.raises(DataError, match="404"):
        download(server.url, tmp_path / "r")


def test_every_set_has_a_page_terms_and_a_way_to_get_it() -> None:
    assert len({named.name for named in SETS}) == len(SETS)
    for named in SETS:
        assert find_set(named.name) is named
        assert named.page.startswith("https://")
        assert named.licence
        assert bool(named.files) != bool(named.by_hand)
    with pytest.raises(DataError, match="expected one of amazon-2018-gift-cards"):
        find_set("netflix")
