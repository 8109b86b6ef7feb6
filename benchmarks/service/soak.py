"""Load the service for minutes with mixed requests while clients leave, the store fails and the run is replaced.

    python benchmarks/service/soak.py RUN --minutes 10

Every text is compared with a table that was computed beforehand without the service. Half-way the service gets a second
run, a copy that decodes at another temperature. So an answer that is lost, crossed or from the wrong run shows. The
store is a SQLite file, which another process locks for a while. The last line is one JSON object; the exit status is 1
if an answer was wrong or missing.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import random
import re
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import polars as pl

sys.path.insert(0, str(Path(__file__).parent))
from load import served

from gavamoe.explainer.explainer import Explainer
from gavamoe.run import RunDirectory

PAIRS, CLIENTS = 150, 8
LEAVE_SHARE = 0.1  # share of requests whose client leaves before the answer
LEAVE_SECONDS = 0.15
LOCK_START, LOCK_SHARE = 0.3, 0.1  # when the store is locked, and for how long, as shares of the duration
WARM_SHARE = 0.25  # memory is compared with that after this share of the duration


def two_runs(run: Path, folder: Path) -> tuple[Path, Path]:
    """Return a copy of a run and a second copy that decodes at another temperature."""
    first, second = folder / "first", folder / "second"
    for copy in (first, second):
        shutil.copytree(run, copy)
    settings = second / "explainer" / "generation_config.json"
    decoding = json.loads(settings.read_text(encoding="utf-8"))
    other = RunDirectory(second)
    other.break_seal()
    settings.write_text(json.dumps({**decoding, "temperature": 1.3}), encoding="utf-8")
    other.seal()
    return first, second


def table(run: Path, pairs: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the text of each pair, computed in this process."""
    frame = pl.DataFrame(pairs, schema=["user", "item"], orient="row")
    explainer = Explainer.from_pretrained(run)
    return {pair: each.text for pair, each in zip(pairs, explainer.explain_batch(frame), strict=True)}


class Soak:
    """The clients, and what they have seen.

    Args:
        url: address of the service.
        pairs: pairs that are explained.
        texts: the right text by run and pair.
    """

    def __init__(self, url: str, pairs: list[tuple[str, str]], texts: dict[str, dict[tuple[str, str], str]]):
        self.url, self.pairs, self.texts = url, pairs, texts
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.random = random.Random(0)

    async def client(self, until: float) -> None:
        """Ask until a moment, and leave now and then before the answer."""
        async with httpx.AsyncClient(base_url=self.url, timeout=90) as http:
            while time.monotonic() < until:
                kind = self.random.choice((self.explain, self.explain, self.explain, self.recommend, self.browse))
                if self.random.random() < LEAVE_SHARE:
                    try:
                        await asyncio.wait_for(kind(http), LEAVE_SECONDS)
                    except TimeoutError:
                        self.counts["client left"] += 1
                else:
                    await kind(http)

    async def explain(self, http: httpx.AsyncClient) -> None:
        """Ask for one to four texts and compare them with the table of the run that answered."""
        pairs = self.random.sample(self.pairs, self.random.randint(1, 4))
        answer = await http.post("/v1/explain", json={"pairs": [{"user": u, "item": i} for u, i in pairs]})
        self.counts[f"explain {answer.status_code}"] += 1
        if answer.status_code != 200:
            if answer.status_code != 429:
                self.wrong.append(f"{answer.status_code}: {answer.text[:200]}")
            return
        content = answer.json()
        found = {(each["user"], each["item"]): each["text"] for each in content["explanations"]}
        expected = {pair: self.texts[content["run"]][pair] for pair in pairs}
        if found != expected:
            self.wrong.append(f"run {content['run']}: expected {expected}, found {found}")

    async def recommend(self, http: httpx.AsyncClient) -> None:
        """Ask for recommendations."""
        user = self.random.choice(self.pairs)[0]
        answer = await http.post("/v1/recommend", json={"user": user, "top": 5})
        self._check("recommend", answer, len(answer.json().get("items", [])) == 5)

    async def browse(self, http: httpx.AsyncClient) -> None:
        """Read a user, and search."""
        user = self.random.choice(self.pairs)[0]
        answer = await http.get(f"/v1/users/{user}")
        self._check("user", answer, answer.json().get("user") == user)

    def _check(self, what: str, answer: httpx.Response, right: bool) -> None:
        self.counts[f"{what} {answer.status_code}"] += 1
        if answer.status_code != 200 or not right:
            self.wrong.append(f"{what} {answer.status_code}: {answer.text[:200]}")

    async def metric(self, http: httpx.AsyncClient, name: str) -> float:
        """Return a metric of the service."""
        found = re.search(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", (await http.get("/metrics")).text, re.MULTILINE)
        return float(found[1]) if found else 0.0


def lock_store(path: Path, seconds: float) -> None:
    """Hold an exclusive lock of a SQLite file."""
    connection = sqlite3.connect(path, timeout=30)
    connection.execute("BEGIN EXCLUSIVE")
    time.sleep(seconds)
    connection.rollback()
    connection.close()


async def soak(url: str, store: Path, seconds: float, state: Soak) -> dict[str, Any]:
    """Run the clients with one outage of the store and one reload; return the figures."""
    start = time.monotonic()
    clients = [asyncio.create_task(state.client(start + seconds)) for _ in range(CLIENTS)]
    async with httpx.AsyncClient(base_url=url, timeout=90) as http:
        memory: list[tuple[float, float]] = []
        done = set[str]()
        while not all(client.done() for client in clients):
            share = (time.monotonic() - start) / seconds
            memory.append((share, await state.metric(http, "process_resident_memory_bytes")))
            if share > LOCK_START and "lock" not in done:
                done.add("lock")
                asyncio.get_running_loop().run_in_executor(None, lock_store, store, LOCK_SHARE * seconds)
            if share > 0.5 and "reload" not in done:
                done.add("reload")
                (await http.post("/admin/reload", json={"run": "second"})).raise_for_status()
            await asyncio.sleep(min(seconds / 40, 5))
        for client in clients:
            client.result()
        before_reload = [size for share, size in memory if WARM_SHARE < share < 0.5]
        after_reload = [size for share, size in memory if share > 0.75]
        return {
            "seconds": round(time.monotonic() - start),
            "counts": dict(sorted(state.counts.items())),
            "wrong": len(state.wrong),
            "store_errors": await state.metric(http, "gavamoe_store_errors_total"),
            "memory_mb_first_half": [round(size / 2**20) for size in (before_reload[0], before_reload[-1])],
            "memory_mb_second_half": [round(size / 2**20) for size in (after_reload[0], after_reload[-1])],
        }


def main() -> None:
    """Prepare both runs and the table, run the load, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    users, items = (pl.read_parquet(options.run / "catalog" / f"{s}s.parquet")[s].to_list() for s in ("user", "item"))
    choice = random.Random(1)
    pairs = sorted({(choice.choice(users), choice.choice(items)) for _ in range(PAIRS)})
    with tempfile.TemporaryDirectory() as folder:
        first, second = two_runs(options.run, Path(folder))
        store = Path(folder) / "store.sqlite"
        with served(first, "--store", f"sqlite:///{store}") as url:
            with httpx.Client(base_url=url) as http:
                names = {first: http.get("/v1/run").json()["run"]}
            texts = {names[first]: table(first, pairs)}
            state = Soak(url, pairs, texts)
            texts.update(_second(url, second, pairs, first))
            result = asyncio.run(soak(url, store, 60 * options.minutes, state))
    for line in state.wrong[:10]:
        print(line, file=sys.stderr)
    print(json.dumps(result))
    sys.exit(1 if state.wrong else 0)


def _second(url: str, second: Path, pairs: list[tuple[str, str]], first: Path) -> dict[str, dict[tuple[str, str], str]]:
    """Return the table of the second run by its name: serve it for a moment, then the first again."""
    with httpx.Client(base_url=url, timeout=90) as http:
        name = http.post("/admin/reload", json={"run": second.name}).raise_for_status().json()["run"]
        http.post("/admin/reload", json={"run": first.name}).raise_for_status()
    return {name: table(second, pairs)}


if __name__ == "__main__":
    main()
