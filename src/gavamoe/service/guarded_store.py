"""The store as requests use it: cached, in threads, and never in the way.

    lookup --memory--> store (in a thread, within a time limit)        save --bounded queue--> writer thread --> store

When the store fails, requests go on without it. After a failure nothing is read or written for a while. The pause
doubles with each failure after a pause; calls that fail together cause one pause. Failures and lost rows are counted.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from gavamoe.pipeline.explanation_store import ExplanationStore, PairKey, StoredExplanation, StoreError
from gavamoe.service.metrics import ServiceMetrics

LOG = logging.getLogger("gavamoe.service")
CACHED = 10_000  # explanations kept in memory
READ_SECONDS, FEEDBACK_SECONDS = 2.0, 5.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds without the store after a failure
UNWRITTEN = 10_000  # explanations that may wait for the writer
ROWS_PER_WRITE = 200
THREADS = 4

Result = TypeVar("Result")


class StoreUnavailableError(Exception):
    """The store cannot take what must not be lost."""


class GuardedStore:
    """An `ExplanationStore` that may fail; None keeps explanations in memory only.

    Args:
        store: the store.
        metrics: counts hits, failures and losses.
    """

    def __init__(self, store: ExplanationStore | None, metrics: ServiceMetrics):
        self.store, self.metrics = store, metrics
        self._memory: OrderedDict[str, StoredExplanation] = OrderedDict()
        self._memory_lock = threading.Lock()
        self._pause, self._paused_until = FIRST_PAUSE, 0.0
        self._pause_lock = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="gavamoe-store")
        self._unwritten: queue.Queue[tuple[PairKey, StoredExplanation] | None] = queue.Queue(UNWRITTEN)
        self._writer = threading.Thread(target=self._write, name="gavamoe-store-writer", daemon=True)
        self._writer.start()
        metrics.store_up.set(0 if store is None else 1)

    @property
    def available(self) -> bool:
        """Whether the store is to be used now: there is one, and it did not fail a moment ago."""
        return self.store is not None and time.monotonic() >= self._paused_until

    async def lookup(self, digests: Sequence[str]) -> dict[str, StoredExplanation]:
        """Return what is known of the digests, from memory or the store; nothing if the store fails."""
        found = self._remembered(digests)
        missing = [digest for digest in digests if digest not in found]
        if missing and self.available and self.store is not None:
            read = await self._guarded("read", self.store.get, missing, seconds=READ_SECONDS)
            if read:
                self._remember(read)
                found |= read
        return found

    def save(self, key: PairKey, stored: StoredExplanation) -> None:
        """Remember an explanation and queue it for the writer; may be called from any thread."""
        self._remember({key.digest(): stored})
        if self.store is None:
            return
        try:
            self._unwritten.put_nowait((key, stored))
        except queue.Full:
            self.metrics.store_lost.inc()

    async def add_feedback(self, **row: Any) -> None:
        """Write feedback, at once.

        Raises:
            StoreUnavailableError: It could not be written.
        """
        if self.store is None:
            raise StoreUnavailableError("the service runs without a store, so feedback cannot be kept")
        done = None
        if self.available:
            add = self.store.add_feedback
            done = await self._guarded("feedback", lambda: add(**row) or True, seconds=FEEDBACK_SECONDS)
        if not done:
            raise StoreUnavailableError("the store does not answer, so the feedback was not kept; try again later")

    def close(self, seconds: float = 10.0) -> None:
        """Write what is queued, and close the store."""
        self._unwritten.put(None)
        self._writer.join(seconds)
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self.store is not None:
            self.store.close()

    async def _guarded(
        self, operation: str, call: Callable[..., Result], *arguments: Any, seconds: float
    ) -> Result | None:
        """Return the result of a call in a thread; None if it fails or takes too long."""
        loop = asyncio.get_running_loop()
        try:
            result = await asyncio.wait_for(loop.run_in_executor(self._threads, call, *arguments), seconds)
        except (StoreError, TimeoutError, OSError, ValueError) as error:
            self._failed(operation, error)
            return None
        self._succeeded()
        return result

    def _write(self) -> None:
        closing = False
        while not closing:
            first = self._unwritten.get()
            rows, closing = self._gather(first)
            if not rows or self.store is None:
                continue
            if not self.available:
                self.metrics.store_lost.inc(len(rows))
                continue
            try:
                self.store.put(rows)
            except (StoreError, OSError, ValueError) as error:
                self._failed("write", error)
                self.metrics.store_lost.inc(len(rows))
            else:
                self._succeeded()

    def _gather(
        self, first: tuple[PairKey, StoredExplanation] | None
    ) -> tuple[list[tuple[PairKey, StoredExplanation]], bool]:
        """Return `first` with more rows that wait, and whether the end of the queue was among them."""
        rows: list[tuple[PairKey, StoredExplanation]] = []
        row = first
        while row is not None:
            rows.append(row)
            if len(rows) == ROWS_PER_WRITE:
                return rows, False
            try:
                row = self._unwritten.get_nowait()
            except queue.Empty:
                return rows, False
        return rows, True

    def _remembered(self, digests: Sequence[str]) -> dict[str, StoredExplanation]:
        with self._memory_lock:
            found = {digest: self._memory[digest] for digest in digests if digest in self._memory}
            for digest in found:
                self._memory.move_to_end(digest)
        return found

    def _remember(self, explanations: dict[str, StoredExplanation]) -> None:
        with self._memory_lock:
            self._memory |= explanations
            while len(self._memory) > CACHED:
                self._memory.popitem(last=False)

    def _failed(self, operation: str, error: BaseException) -> None:
        """Count a failure, and pause unless another call that failed at the same time has paused already."""
        self.metrics.store_errors.labels(operation).inc()
        with self._pause_lock:
            now = time.monotonic()
            if now < self._paused_until:
                return
            pause = self._pause
            self._paused_until = now + pause
            self._pause = min(2 * pause, LONGEST_PAUSE)
            self.metrics.store_up.set(0)
        LOG.warning(
            "the store failed; requests go on without it",
            extra={"event": "store_failed", "operation": operation, "error": type(error).__name__, "pause": pause},
        )

    def _succeeded(self) -> None:
        with self._pause_lock:
            was_down = self._pause != FIRST_PAUSE
            self._pause, self._paused_until = FIRST_PAUSE, 0.0
            self.metrics.store_up.set(1)
        if was_down:
            LOG.info("the store answers again", extra={"event": "store_back"})
