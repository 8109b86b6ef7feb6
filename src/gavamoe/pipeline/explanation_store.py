"""A store of explanations and feedback in any database that SQLAlchemy reaches: SQLite or PostgreSQL.

    PairKey (run, pair, condition, decoding, seed, history) --digest--> row of `explanations` (the explanation as JSON)

An explanation is a function of its key, so a stored one never becomes wrong: another run has another digest. Evidence
and experts are not part of the key. A row says how much of them it holds, and a row that holds less than is requested
counts as absent.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Engine,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from gavamoe.conditions import Condition
from gavamoe.errors import InputError, RunError
from gavamoe.explainer.explanation import Explanation
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.pipeline.history_file import Histories
from gavamoe.preference.history import UserHistory

StoreError = SQLAlchemyError  # what reading and writing may raise

KEYS_PER_QUERY = 500
SECONDS_TO_CONNECT = 2
# How long a connection to PostgreSQL waits: for the connection, for a statement, and for an answer of the network. So a
# server that hangs, or whose machine is gone, does not hold a thread for long.
POSTGRESQL_LIMITS = {
    "connect_timeout": SECONDS_TO_CONNECT,
    "options": f"-c statement_timeout={1000 * SECONDS_TO_CONNECT}",
    "tcp_user_timeout": 2000 * SECONDS_TO_CONNECT,
    "keepalives_idle": SECONDS_TO_CONNECT,
    "keepalives_interval": 1,
    "keepalives_count": 2,
}
# Each connection to a database in memory has a database of its own, so the threads take turns with one connection.
ONE_CONNECTION: dict[str, Any] = {
    "poolclass": QueuePool,
    "pool_size": 1,
    "max_overflow": 0,
    "pool_timeout": SECONDS_TO_CONNECT,
}
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}

METADATA = MetaData()
EXPLANATIONS = Table(
    "explanations",
    METADATA,
    Column("key", String(64), primary_key=True),
    Column("run", String(64), nullable=False),
    Column("user", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("condition", Text, nullable=False),
    Column("decoding", Text, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("evidence_requested", Integer, nullable=False),
    Column("has_experts", Boolean, nullable=False),
    Column("explanation", Text, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
    Index("explanations_run_user_item", "run", "user", "item"),
)
FEEDBACK = Table(
    "feedback",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run", String(64), nullable=False),
    Column("user", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("text", Text),
    Column("useful", Boolean, nullable=False),
    Column("comment", Text),
    Column("created", DateTime(timezone=True), nullable=False),
)


@dataclass(frozen=True)
class PairKey:
    """What determines an explanation.

    Args:
        run: digest of the run (`RunDirectory.digest`).
        user: name of the user.
        item: name of the item.
        condition: where the prompt's rating and feature come from, with their values where they are given.
        decoding: how the text is decoded, as JSON with sorted names.
        seed: of sampling.
        history: digest of a history given with the request; empty without one.
    """

    run: str
    user: str
    item: str
    condition: str
    decoding: str
    seed: int = 0
    history: str = ""

    @classmethod
    def for_pair(
        cls,
        run: str,
        user: str,
        item: str,
        condition: Condition,
        decoding: str,
        seed: int = 0,
        rating: float | None = None,
        feature: str | None = None,
        history: UserHistory | None = None,
    ) -> PairKey:
        """Return the key of a pair; rating and feature count only where the condition says `given`.

        Args:
            run: digest of the run.
            user: name of the user.
            item: name of the item.
            condition: where the prompt's rating and feature come from.
            decoding: `describe_decoding` of the decoding.
            seed: of sampling.
            rating: the given rating.
            feature: the given feature.
            history: the history given with the request; None without one. Order and unknown items do not count.
        """
        stated: dict[str, Any] = {"rating": condition.rating, "feature": condition.feature}
        if condition.context is not None:
            stated["context"] = condition.context
        if condition.rating == "given":
            stated["given_rating"] = None if rating is None else float(rating)
        if condition.feature == "given":
            stated["given_feature"] = feature
        rated = ""
        if history is not None:  # without texts the key is that of earlier versions
            rated = _sha256(_json([history.rated, history.written] if history.written else history.rated))
        return cls(run, user, item, _json(stated), decoding, seed, rated)

    def digest(self) -> str:
        """Return a SHA-256 of the key, in hex."""
        return _sha256(_json(list(asdict(self).values())))


@dataclass(frozen=True)
class StoredExplanation:
    """An explanation in the store.

    Args:
        explanation: as `Explanation.to_dict` returns it.
        evidence_requested: number of sentences that were requested; there may be fewer.
        has_experts: whether it says which experts the text was routed to, if the run has experts.
    """

    explanation: Mapping[str, Any]
    evidence_requested: int
    has_experts: bool

    def suffices(self, evidence: int, experts: bool) -> bool:
        """Return whether it holds as much evidence and experts as are requested."""
        return self.evidence_requested >= evidence and (self.has_experts or not experts)


class ExplanationStore:
    """Reads and writes the tables; every method may be called from any thread.

    Args:
        url: of the database: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME. A plain path is an SQLite file,
            and :memory: a database that ends with the process.

    Raises:
        InputError: The URL cannot be read, or its driver is not installed.
    """

    def __init__(self, url: str):
        parsed = _parse(url)
        self.engine = _engine(parsed)
        self.label = parsed.render_as_string(hide_password=True)
        self._prepared, self._preparing = False, threading.Lock()

    def prepare(self) -> None:
        """Create the tables that are missing.

        Raises:
            StoreError: The database cannot be reached.
        """
        with self._preparing:
            if self._prepared:
                return
            try:
                METADATA.create_all(self.engine)
            except DBAPIError:  # another process may have created them at the same moment
                METADATA.create_all(self.engine)
            self._prepared = True

    def get(self, digests: Sequence[str]) -> dict[str, StoredExplanation]:
        """Return the stored explanations among the digests of keys."""
        self._prepare_once()
        found: dict[str, StoredExplanation] = {}
        columns = EXPLANATIONS.c
        with self.engine.connect() as connection:
            for start in range(0, len(digests), KEYS_PER_QUERY):
                wanted = list(digests[start : start + KEYS_PER_QUERY])
                query = select(columns.key, columns.explanation, columns.evidence_requested, columns.has_experts).where(
                    columns.key.in_(wanted)
                )
                for key, explanation, evidence, experts in connection.execute(query):
                    found[key] = StoredExplanation(json.loads(explanation), evidence, experts)
        return found

    def put(self, explanations: Sequence[tuple[PairKey, StoredExplanation]]) -> None:
        """Write explanations in one transaction; a row with the same key is replaced, unless it holds more.

        More is as many sentences of evidence and the experts too, and one of them beyond the new row's.
        """
        if not explanations:
            return
        self._prepare_once()
        now = datetime.now(UTC)
        rows = {
            key.digest(): {
                "key": key.digest(),
                "run": key.run,
                "user": key.user,
                "item": key.item,
                "condition": key.condition,
                "decoding": key.decoding,
                "seed": key.seed,
                "evidence_requested": stored.evidence_requested,
                "has_experts": stored.has_experts,
                "explanation": _json(stored.explanation),
                "created": now,
            }
            for key, stored in explanations
        }
        insert = (postgresql if self.engine.dialect.name == "postgresql" else sqlite).insert(EXPLANATIONS)
        replaced = {
            name: insert.excluded[name] for name in ("explanation", "evidence_requested", "has_experts", "created")
        }
        old, new = EXPLANATIONS.c, insert.excluded
        adds = (new.evidence_requested > old.evidence_requested) | (new.has_experts & ~old.has_experts)
        equal = (new.evidence_requested == old.evidence_requested) & (new.has_experts == old.has_experts)
        upsert = insert.on_conflict_do_update(index_elements=["key"], set_=replaced, where=adds | equal)
        with self.engine.begin() as connection:
            connection.execute(upsert, list(rows.values()))

    def add_feedback(
        self, run: str, user: str, item: str, useful: bool, text: str | None = None, comment: str | None = None
    ) -> None:
        """Write what a person thinks of an explanation."""
        self._prepare_once()
        row = {"run": run, "user": user, "item": item, "useful": useful, "text": text, "comment": comment}
        with self.engine.begin() as connection:
            connection.execute(FEEDBACK.insert(), [{**row, "created": datetime.now(UTC)}])

    def count(self) -> dict[str, int]:
        """Return the number of rows by table."""
        self._prepare_once()
        with self.engine.connect() as connection:
            return {
                table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
                for table in (EXPLANATIONS, FEEDBACK)
            }

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _prepare_once(self) -> None:
        if not self._prepared:
            self.prepare()


def describe_decoding(decoding: DecodingConfig) -> str:
    """Return everything that a decoding sets, as JSON with sorted names."""
    return _json({name: value for name, value in asdict(decoding).items() if value is not None})


def open_store(url: str) -> ExplanationStore:
    """Open a store for a command and create its tables.

    Raises:
        InputError: The database cannot be opened.
    """
    store = ExplanationStore(url)
    try:
        store.prepare()
    except (OperationalError, DBAPIError) as error:
        reason = str(error.orig).strip().splitlines()[0] if error.orig else type(error).__name__
        raise InputError(f"the store {store.label} cannot be opened: {reason}; check the URL and the server") from None
    return store


@dataclass(frozen=True)
class KeepInStore:
    """Writes the explanations of a frame of pairs to a store.

    Args:
        store: where to write.
        run: digest of the run.
        condition: the condition of the explanations.
        decoding: how they were decoded, with seed 0 and without experts.
    """

    store: ExplanationStore
    run: str
    condition: Condition
    decoding: DecodingConfig

    @property
    def label(self) -> str:
        """The URL of the store, without its password."""
        return self.store.label

    def __call__(
        self, pairs: pl.DataFrame, explanations: Sequence[Explanation], evidence: int, histories: Histories = None
    ) -> None:
        """Write explanations with `evidence` sentences each.

        Raises:
            RunError: the store failed.
        """
        described = describe_decoding(self.decoding)
        given = {
            name: pairs[name].to_list() if source == "given" else [None] * len(pairs)
            for name, source in (("rating", self.condition.rating), ("feature", self.condition.feature))
        }
        rows = [
            (
                PairKey.for_pair(
                    self.run,
                    each.user,
                    each.item,
                    self.condition,
                    described,
                    rating=given["rating"][row],
                    feature=given["feature"][row],
                    history=None if histories is None else histories[row],
                ),
                StoredExplanation(each.to_dict(), evidence, each.experts is not None),
            )
            for row, each in enumerate(explanations)
        ]
        try:
            self.store.put(rows)
        except StoreError as error:
            raise RunError(
                f"the store {self.label} failed ({type(error).__name__}); go on with --resume when it answers again"
            ) from None


def _parse(url: str) -> URL:
    if "://" not in url:
        if url != ":memory:" and not Path(url).suffix and len(Path(url).parts) == 1 and not Path(url).exists():
            raise InputError(f"the store '{url}' is no URL; write sqlite:///FILE, {url}.sqlite, or none for no store")
        return URL.create("sqlite", database=url)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise InputError(
            "the store's URL cannot be read; write sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
        ) from None
    if parsed.get_backend_name() not in DRIVERS:
        raise InputError(
            f"the store cannot be {parsed.drivername}; write sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
        )
    return parsed if "+" in parsed.drivername else parsed.set(drivername=DRIVERS[parsed.drivername])


def _engine(url: URL) -> Engine:
    try:
        if url.get_backend_name() == "sqlite":
            limits = {"timeout": SECONDS_TO_CONNECT, "check_same_thread": False}
            engine = create_engine(url, connect_args=limits, **(ONE_CONNECTION if _in_memory(url) else {}))
            event.listen(engine, "connect", _configure_sqlite)
            return engine
        return create_engine(url, connect_args=POSTGRESQL_LIMITS)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise InputError(
            f"the driver of the store is not installed ({error}); install it with `pip install 'gavamoe[serve]'`"
        ) from None


def _in_memory(url: URL) -> bool:
    return url.database in (None, "", ":memory:") or url.query.get("mode") == "memory"


def _configure_sqlite(connection: Any, record: Any) -> None:
    """Let readers and one writer work at the same time; the last writes may be lost when the machine loses power."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
