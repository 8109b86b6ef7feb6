"""The store of explanations: keys, sufficiency, URLs, and a real PostgreSQL that is killed under load."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.service import explain, metric, pair
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.conditions import Condition
from gavamoe.errors import InputError
from gavamoe.pipeline.explanation_store import ExplanationStore, PairKey, StoredExplanation, open_store
from gavamoe.preference.history import UserHistory
from gavamoe.service.guarded_store import FIRST_PAUSE, THREADS, GuardedStore
from gavamoe.service.metrics import ServiceMetrics

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
KEYS = st.builds(
    PairKey.for_pair,
    run=st.sampled_from(["r1", "r2"]),
    user=NAMES,
    item=NAMES,
    condition=st.builds(Condition, st.sampled_from(["none", "predicted", "given"]), st.just("predicted")),
    decoding=st.sampled_from(["{}", '{"top_p":0.9}']),
    seed=st.integers(0, 2),
    rating=st.sampled_from([None, 1, 2.0]),
    history=st.sampled_from(
        [None, UserHistory((), (), ()), UserHistory((1, 2), (5, 4), ()), UserHistory((1,), (5,), ())]
    ),
)


@given(one=KEYS, other=KEYS)
def test_keys_have_equal_digests_exactly_if_they_are_equal(one, other):
    assert (one.digest() == other.digest()) == (one == other)


def test_a_rating_that_the_condition_does_not_use_is_not_part_of_the_key():
    key = ("run", "u", "i")
    assert PairKey.for_pair(*key, Condition(), "{}", rating=1.0) == PairKey.for_pair(*key, Condition(), "{}")
    given_rating = Condition("given")
    assert PairKey.for_pair(*key, given_rating, "{}", rating=1) != PairKey.for_pair(*key, given_rating, "{}", rating=2)


def test_the_order_of_a_history_and_its_unknown_items_are_not_part_of_the_key():
    key = ("run", "u", "i", Condition(), "{}")
    history = UserHistory((1, 2), (5, 4), ())
    same = UserHistory((2, 0, 1), (4, 3, 5), ("unknown",))
    assert PairKey.for_pair(*key, history=history) == PairKey.for_pair(*key, history=same)
    for other in (None, UserHistory((), (), ()), UserHistory((1, 2), (4, 5), ())):
        assert PairKey.for_pair(*key, history=history) != PairKey.for_pair(*key, history=other)


@given(rows=st.dictionaries(KEYS, st.tuples(NAMES, st.integers(0, 9), st.booleans()), max_size=5))
def test_what_was_put_is_got_and_a_later_row_replaces_an_earlier_one(rows):
    store = ExplanationStore("sqlite://")
    store.prepare()
    put = {key: StoredExplanation({"text": text}, evidence, experts) for key, (text, evidence, experts) in rows.items()}
    store.put([(key, StoredExplanation({"text": "earlier"}, 0, False)) for key in put])
    store.put(list(put.items()))
    assert store.get([key.digest() for key in put]) == {key.digest(): stored for key, stored in put.items()}
    assert store.count()["explanations"] == len({key.digest() for key in put})
    store.close()


@pytest.mark.parametrize(("evidence", "experts"), [(3, True), (5, False), (3, False)])
def test_a_row_that_holds_less_does_not_replace_a_stored_one(evidence, experts):
    store = ExplanationStore("sqlite://")
    key, full = PairKey.for_pair("run", "u", "i", Condition(), "{}"), StoredExplanation({"text": "full"}, 5, True)
    store.put([(key, full)])
    store.put([(key, StoredExplanation({"text": "poorer"}, evidence, experts))])
    assert store.get([key.digest()]) == {key.digest(): full}
    store.close()


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("mysql://u:p@h/d", "cannot be mysql"),
        ("nonsense://", "cannot be nonsense"),
        ("postgresql://h:port/d", "cannot be read"),
        ("sqlite:////no/such/folder/store.sqlite", "cannot be opened"),
        ("postgresql://u:secret@127.0.0.1:9/d", "cannot be opened"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line_without_its_password(url, line):
    with pytest.raises(InputError, match=line) as refused:
        open_store(url)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", ":memory:"])
def test_all_threads_share_a_store_in_memory(url):
    store = open_store(url)
    keys = [PairKey.for_pair("run", "u", f"i{number}", Condition(), "{}") for number in range(64)]
    stored = StoredExplanation({"text": "text"}, 0, False)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: store.put([(key, stored)]), keys))
        found = list(threads.map(lambda key: store.get([key.digest()]), keys))
    assert found == [{key.digest(): stored} for key in keys]
    assert store.count()["explanations"] == len(keys)
    store.close()


@pytest.mark.parametrize("name", ["50%25.sqlite", "a?b=c.sqlite", "a b#c.sqlite"])
def test_a_path_is_the_file_of_that_name(tmp_path, name):
    open_store(str(tmp_path / name)).close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


class FailingStore:
    """A store whose reads all fail, once as many have started as the barrier waits for."""

    def __init__(self, together: int):
        self.barrier = threading.Barrier(together)

    def get(self, digests):
        self.barrier.wait(10)
        raise OSError("no connection")

    def close(self) -> None:
        pass


def test_lookups_that_fail_together_pause_the_store_once():
    store = GuardedStore(FailingStore(THREADS), ServiceMetrics())

    async def look() -> None:
        await asyncio.gather(*(store.lookup([str(number)]) for number in range(THREADS)))

    asyncio.run(look())
    store.close()
    assert store.metrics.registry.get_sample_value("gavamoe_store_errors_total", {"operation": "read"}) == THREADS
    assert store._paused_until - time.monotonic() <= FIRST_PAUSE
    assert store._pause == 2 * FIRST_PAUSE


class Postgres:
    """A PostgreSQL server in a directory of its own, on a Unix socket."""

    def __init__(self, programs: Path, folder: Path):
        self.programs, self.data, self.sockets = programs, folder / "data", folder / "s"
        self.user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        for path in (folder, self.sockets):
            path.mkdir(exist_ok=True)
            if self.user:
                shutil.chown(path, self.user)
        self._call("initdb", "-D", self.data, "-U", "test", "-A", "trust", "--no-sync")
        self.url = f"postgresql://test@/postgres?host={self.sockets}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        options = ["-D", self.data, "-k", self.sockets, "-c", "listen_addresses=", "-c", "fsync=off"]
        self.process = subprocess.Popen(
            [self.programs / "postgres", *options], stderr=subprocess.DEVNULL, user=self.user, cwd=self.data
        )
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                open_store(self.url).close()
                return
            except InputError:
                assert self.process.poll() is None, "PostgreSQL ended"
                time.sleep(0.1)
        raise AssertionError("PostgreSQL did not start")

    def stop(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(60)

    def _call(self, program: str, *arguments: object) -> None:
        subprocess.run([self.programs / program, *map(str, arguments)], check=True, capture_output=True, user=self.user)


def _programs() -> Path | None:
    """Return the folder of Debian's newest PostgreSQL, or that of an `initdb` on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(on_path).parent if on_path else None


@pytest.fixture
def postgres():
    pytest.importorskip("psycopg", reason="the driver psycopg is not installed: pip install 'gavamoe[serve]'")
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed: apt-get install postgresql")
    if os.geteuid() == 0 and not _has_user("nobody"):
        pytest.skip("PostgreSQL cannot run as root, and there is no user nobody")
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a short path: the name of a Unix socket is limited
    folder.chmod(0o755)
    server = Postgres(programs, folder)
    server.start()
    yield server
    if server.process is not None and server.process.poll() is None:
        server.stop(signal.SIGQUIT)
    shutil.rmtree(folder, ignore_errors=True)


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def test_requests_go_on_while_postgresql_is_killed_and_use_it_again_afterwards(make_service, ask, postgres, explainer):
    service = make_service(postgres.url)
    pairs = [(f"u{number:02d}", f"i{number % 19 + 1:02d}") for number in range(1, 25)]
    expected = [each.text for each in explainer.explain_batch(pairs)]
    requests = [explain(pair(*names)) for names in pairs]
    first = ask(service, *requests[:4])
    _until(lambda: service.store.store.count()["explanations"] == 4)
    service.store._memory.clear()
    assert ask(service, requests[0])[0].json()["explanations"][0]["source"] == "store"
    service.store._memory.clear()
    killer = threading.Timer(0.05, lambda: postgres.stop(signal.SIGQUIT))
    killer.start()
    answers = ask(service, *requests)
    killer.join()
    service.store._memory.clear()
    answers_without = ask(service, *requests[:4])
    assert {response.status_code for response in (*first, *answers, *answers_without)} == {200}
    texts = [response.json()["explanations"][0]["text"] for response in answers]
    assert texts == expected
    assert metric(service, "gavamoe_store_up") == 0
    # A write may fail before the first read does; the store is then left alone for a while.
    failed = [metric(service, "gavamoe_store_errors_total", operation=each) or 0 for each in ("read", "write")]
    assert sum(failed) >= 1
    postgres.start()
    service.store._paused_until = 0.0
    assert ask(service, ("POST", "/v1/feedback", pair("u01", "i01", useful=True)))[0].json() == {"kept": True}
    assert metric(service, "gavamoe_store_up") == 1


def _until(condition):
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
