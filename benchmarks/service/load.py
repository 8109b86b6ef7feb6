"""Load the service of a run: closed-loop clients, a constant rate, streams and store hits, each beside batches of one.

    python benchmarks/service/load.py RUN --out benchmarks/out/service.json

Every request asks for another pair, so that none is answered from the store; only `store hits` repeats its pairs. The
server runs as a process of its own on the same machine, so the clients take part of the processor.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import platform
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl

CLIENTS = (1, 8, 64)
HOT_PAIRS = 50
MAX_PAIRS = 100_000


@dataclass
class Figures:
    """What one load measured; times in seconds."""

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    first: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)

    def add(self, status: int, first: float, end: float) -> None:
        """Count an answer; times are kept of those that succeeded."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status == 200:
            self.first.append(first)
            self.end.append(end)

    def to_dict(self) -> dict[str, Any]:
        """Return requests per second, percentiles in milliseconds, and answers by status."""
        row: dict[str, Any] = {"requests_per_second": len(self.end) / max(self.seconds, 1e-9)}
        for name, times in (("first", self.first), ("end", self.end)):
            for q in (50, 99):
                row[f"p{q}_{name}_ms"] = float(np.percentile(times, q)) * 1000 if times else None
        return row | {"statuses": dict(sorted(self.statuses.items()))}


class Client:
    """A minimal HTTP client on one connection: a full one would take more of the processor than the server."""

    def __init__(self, url: str):
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port
        self.reader: asyncio.StreamReader | None = None

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, float, float]:
        """Return the status, and the seconds to the first byte of the body and to its end."""
        if self.reader is None or self.reader.at_eof():  # the server closes connections that are idle for seconds
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
        )
        start = time.perf_counter()
        self.writer.write(head.encode() + b"\r\n\r\n" + data)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        if "content-length" in headers:
            await self.reader.readexactly(int(headers["content-length"]))
            first = time.perf_counter()
        else:
            first = await self._read_chunks()
        return int(lines[0].split(" ")[1]), first - start, time.perf_counter() - start

    async def _read_chunks(self) -> float:
        assert self.reader is not None
        first = 0.0
        while size := int(await self.reader.readline(), 16):
            await self.reader.readexactly(size + 2)
            first = first or time.perf_counter()
        await self.reader.readline()
        return first

    def close(self) -> None:
        """Close the connection."""
        if self.reader is not None:
            self.writer.close()


@contextmanager
def served(run: Path, *options: str) -> Any:
    """Run the service and yield its address."""
    command = [sys.executable, "-m", "gavamoe", "serve", str(run), "--port", "0", "--json", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait(90)


def bodies(pairs: list[tuple[str, str]]) -> Any:
    """Yield requests for ever. All pairs come once before one comes again, then with the next seed.

    Only requests of the same seed share batches.
    """
    for seed in itertools.count():
        for user, item in pairs:
            yield {"pairs": [{"user": user, "item": item}], "seed": seed}


@asynccontextmanager
async def clients(url: str, count: int) -> AsyncIterator[list[Client]]:
    """Yield `count` clients."""
    found = [Client(url) for _ in range(count)]
    try:
        yield found
    finally:
        for client in found:
            client.close()


async def closed_loop(url: str, count: int, seconds: float, path: str, requests: Any) -> Figures:
    """Let `count` clients ask one request after the other."""
    figures = Figures()
    async with clients(url, count) as found:
        start = time.perf_counter()

        async def ask(client: Client) -> None:
            while time.perf_counter() - start < seconds:
                figures.add(*await client.post(path, next(requests)))

        await asyncio.gather(*map(ask, found))
        figures.seconds = time.perf_counter() - start
    return figures


async def constant_rate(url: str, rate: float, seconds: float, path: str, requests: Any) -> Figures:
    """Send requests at a constant rate, whether or not earlier ones are answered."""
    figures, free = Figures(), [Client(url)]

    async def ask() -> None:
        client = free.pop() if free else Client(url)
        figures.add(*await client.post(path, next(requests)))
        free.append(client)

    start, tasks = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(ask()))
    await asyncio.gather(*tasks)
    figures.seconds = time.perf_counter() - start
    for client in free:
        client.close()
    return figures


def measure(run: Path, seconds: float) -> dict[str, Any]:
    """Return all figures of a run."""
    users, items = (pl.read_parquet(run / "catalog" / f"{side}s.parquet")[side].to_list() for side in ("user", "item"))
    rng = np.random.default_rng(0)
    numbers = rng.permutation(len(users) * len(items))[:MAX_PAIRS]
    pairs = [(users[number // len(items)], items[number % len(items)]) for number in numbers.tolist()]
    rows: dict[str, Any] = {}

    def note(name: str, work: Callable[[], Awaitable[Figures]]) -> dict[str, Any]:
        rows[name] = asyncio.run(work()).to_dict()  # type: ignore[arg-type]
        print(name, rows[name], file=sys.stderr, flush=True)
        return rows[name]

    requests = bodies(pairs)
    for label, options in (("shared batches", ()), ("batches of one", ("--batch", "1"))):
        with served(run, "--store", "none", *options) as url:
            asyncio.run(closed_loop(url, 1, 2, "/v1/explain", requests))  # warm up
            for count in CLIENTS:
                note(f"{label}, {count} clients", lambda: closed_loop(url, count, seconds, "/v1/explain", requests))  # noqa: B023
            note(f"{label}, 8 streams", lambda: closed_loop(url, 8, seconds, "/v1/explain/stream", requests))
    with served(run, "--store", f"sqlite:///{run.resolve()}.load.sqlite") as url:
        stored = [{"pairs": [{"user": user, "item": item} for user, item in pairs[:HOT_PAIRS]], "seed": 0}]
        asyncio.run(constant_rate(url, 1, 1, "/v1/explain", iter(stored)))
        hot = itertools.cycle(itertools.islice(bodies(pairs), HOT_PAIRS))
        note("store hits, 8 clients", lambda: closed_loop(url, 8, seconds, "/v1/explain", hot))
        capacity = rows["shared batches, 64 clients"]["requests_per_second"]
        for share in (0.5, 1.0, 2.0):
            rate = max(share * capacity, 1.0)
            note(f"{share:.0%} of capacity", lambda: constant_rate(url, rate, seconds, "/v1/explain", requests))  # noqa: B023
    Path(f"{run.resolve()}.load.sqlite").unlink(missing_ok=True)
    return rows


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each load")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    rows = measure(options.run, options.seconds)
    result = {"python": platform.python_version(), "seconds": options.seconds, "loads": rows}
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(f"| load | requests/s | p50 / p99 to first byte, ms | p50 / p99 to end, ms | answers |\n|{'---|' * 5}")
    for name, row in rows.items():
        first, end = (
            " / ".join("-" if row[f"p{q}_{of}_ms"] is None else f"{row[f'p{q}_{of}_ms']:.0f}" for q in (50, 99))
            for of in ("first", "end")
        )
        print(f"| {name} | {row['requests_per_second']:.1f} | {first} | {end} | {row['statuses']} |")


if __name__ == "__main__":
    main()
