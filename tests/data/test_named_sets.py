"""Fetching is tested against a server of our own that breaks the connection half-way."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from gavamoe.data import download as downloads
from gavamoe.data.download import download
from gavamoe.data.named_sets import SETS, find_set
from gavamoe.errors import DataError

CONTENT = bytes(range(256)) * 4000


class BreakingServer(ThreadingHTTPServer):
    """Serves CONTENT, closing each connection after `bytes_a_go`; may lack ranges, fail, or answer nothing new."""

    bytes_a_go = 300_000
    ranges = True
    status = 200
    requests: list[str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/reviews.jsonl.gz"


class Handler(BaseHTTPRequestHandler):
    server: BreakingServer

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append(asked)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        found = re.match(r"bytes=(\d+)-", asked or "")
        start = int(found.group(1)) if found and self.server.ranges else 0
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : start + self.server.bytes_a_go])

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


def test_a_connection_that_breaks_is_resumed_where_it_broke(server: BreakingServer, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = tmp_path / "raw" / "reviews.jsonl.gz"
    download(server.url, path, hashlib.sha256(CONTENT).hexdigest(), lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_later_call_goes_on_with_what_an_earlier_one_left(server: BreakingServer, tmp_path: Path) -> None:
    path = tmp_path / "r"
    (tmp_path / "r.part").write_bytes(CONTENT[:1000])
    server.bytes_a_go = len(CONTENT)
    download(server.url, path)
    assert (path.read_bytes(), server.requests) == (CONTENT, ["bytes=1000-"])
    path.rename(tmp_path / "r.part")
    download(server.url, path)
    assert path.read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(server: BreakingServer, tmp_path: Path) -> None:
    server.ranges = False
    server.bytes_a_go = len(CONTENT)
    (tmp_path / "r.part").write_bytes(b"something else")
    download(server.url, tmp_path / "r")
    assert (tmp_path / "r").read_bytes() == CONTENT


def test_a_server_that_gives_nothing_is_given_up_with_what_came_kept(server: BreakingServer, tmp_path: Path) -> None:
    server.bytes_a_go = 0
    (tmp_path / "r.part").write_bytes(CONTENT[:1000])
    with pytest.raises(DataError, match=r"1,000 bytes are kept, run the command again"):
        download(server.url, tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_missing_file_and_a_wrong_checksum_say_so(server: BreakingServer, tmp_path: Path) -> None:
    server.bytes_a_go = len(CONTENT)
    with pytest.raises(DataError, match="expected 0000"):
        download(server.url, tmp_path / "r", "0000")
    assert list(tmp_path.iterdir()) == []
    server.status = 404
    with pytest.raises(DataError, match="404"):
        download(server.url, tmp_path / "r")


def test_every_set_says_where_it_lives_under_what_terms_and_how_to_get_it() -> None:
    assert len({named.name for named in SETS}) == len(SETS)
    for named in SETS:
        assert find_set(named.name) is named
        assert named.page.startswith("https://")
        assert named.licence
        assert bool(named.files) != bool(named.by_hand)
    with pytest.raises(DataError, match="expected one of amazon-2018-gift-cards"):
        find_set("netflix")
