"""Load the service for minutes with mixed requests while clients leave, the store fails and the run is replaced.

    python benchmarks/service/soak.py RUN --minutes 10

Half of the requests for texts repeat pairs of a table that was computed beforehand without the service; the store
answers most of them. The other half ask with a seed of their own, so that the model works all the time; their texts are
computed anew afterwards. Half-way the service gets a second run, a copy that decodes at another temperature. So an
answer that is lost, crossed or from the wrong run shows. The store is a SQLite file, which is locked for a while. The
last line is one JSON object. The exit status is 1 if an answer was wrong or missing, or if memory grew by more than
5 %.
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
REQUESTS_PER_SEED = 40  # that share one seed, so that their texts can be computed together afterwards
MEMORY_GROWTH = 0.05
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


Pair = tuple[str, str]
Texts = dict[Pair, str]


def table(explainer: Explainer, pairs: list[Pair], seed: int = 0) -> Texts:
    """Return the text of each pair, computed in this process."""
    frame = pl.DataFrame(pairs, schema=["user", "item"], orient="row")
    return {pair: each.text for pair, each in zip(pairs, explainer.explain_batch(frame, seed=seed), strict=True)}


class Soak:
    """The clients, and what they have seen.

    Args:
        url: address of the service.
        pairs: pairs that are explained.
        texts: the right text by run and pair.
    """

    def __init__(self, url: str, pairs: list[Pair], texts: dict[str, Texts]):
        self.url, self.pairs, self.texts = url, pairs, texts
        self.fresh: dict[tuple[str, int], Texts] = collections.defaultdict(dict)  # answers by run and seed
        self.fresh_requests = 0
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.random = random.Random(0)

    async def client(self, until: float) -> None:
        """Ask until a moment, and leave now and then before the answer."""
        async with httpx.AsyncClient(base_url=self.url, timeout=90) as http:
            while time.monotonic() < until:
                kinds = (self.explain, self.explain_anew, self.explain, self.explain_anew, self.recommend, self.browse)
                kind = self.random.choice(kinds)
                if self.random.random() < LEAVE_SHARE:
                    try:
                        await asyncio.wait_for(kind(http), LEAVE_SECONDS)
                    except TimeoutError:
                        self.counts["client left"] += 1
                else:
                    await kind(http)

    async def explain(self, http: httpx.AsyncClient) -> None:
        """Ask for texts of the table and compare them with those of the run that answered."""
        run, found = await self._texts(http, "explain")
        expected = {pair: self.texts[run][pair] for pair in found}
        if found != expected:
            self.wrong.append(f"run {run}: expected {expected}, found {found}")

    async def explain_anew(self, http: httpx.AsyncClient) -> None:
        """Ask for texts of a new seed and keep them."""
        self.fresh_requests += 1
        seed = 1000 + self.fresh_requests // REQUESTS_PER_SEED
        run, found = await self._texts(http, "explain anew", seed=seed)
        self.fresh[run, seed] |= found

    async def _texts(self, http: httpx.AsyncClient, what: str, **fields: int) -> tuple[str, Texts]:
        """Ask for one to four texts; return the run that answered and the texts, none if the service refused."""
        pairs = self.random.sample(self.pairs, self.random.randint(1, 4))
        body = {"pairs": [{"user": user, "item": item} for user, item in pairs], **fields}
        answer = await http.post("/v1/explain", json=body)
        self.counts[f"{what} {answer.status_code}"] += 1
        if answer.status_code != 200:
            if answer.status_code != 429:
                self.wrong.append(f"{answer.status_code}: {answer.text[:200]}")
            return next(iter(self.texts)), {}
        content = answer.json()
        found = {(each["user"], each["item"]): each["text"] for each in content["explanations"]}
        if list(found) != pairs:
            self.wrong.append(f"asked for {pairs}, answered {list(found)}")
        return content["run"], found

    def check_fresh(self, explainers: dict[str, Explainer]) -> int:
        """Compute the texts of all seeds anew and compare; return how many there are."""
        for (run, seed), found in self.fresh.items():
            for pair, text in table(explainers[run], list(found), seed).items():
                if text != found[pair]:
                    self.wrong.append(f"run {run}, seed {seed}, {pair}: expected {text!r}, found {found[pair]!r}")
        return sum(map(len, self.fresh.values()))

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
        """Return a metric of the service, summed over its labels."""
        found = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", (await http.get("/metrics")).text, re.MULTILINE)
        return sum(map(float, found))


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
            "store_errors": await state.metric(http, "gavamoe_store_errors_total"),
            "store_lost": await state.metric(http, "gavamoe_store_lost_total"),
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
            explainers = {name: Explainer.from_pretrained(run) for name, run in _names(url, first, second).items()}
            state = Soak(url, pairs, {name: table(explainer, pairs) for name, explainer in explainers.items()})
            result = asyncio.run(soak(url, store, 60 * options.minutes, state))
    result |= {"fresh_texts": state.check_fresh(explainers), "wrong": len(state.wrong)}
    for line in state.wrong[:10]:
        print(line, file=sys.stderr)
    print(json.dumps(result))
    halves = (result["memory_mb_first_half"], result["memory_mb_second_half"])
    grown = any(last > (1 + MEMORY_GROWTH) * first for first, last in halves)
    sys.exit(1 if state.wrong or grown else 0)


def _names(url: str, first: Path, second: Path) -> dict[str, Path]:
    """Return both runs by the names that the service gives them: it serves the second for a moment."""
    with httpx.Client(base_url=url, timeout=90) as http:
        names = {}
        for run in (second, first):
            reloaded = http.post("/admin/reload", json={"run": run.name}).raise_for_status()
            names[reloaded.json()["run"]] = run
    return names


if __name__ == "__main__":
    main()
