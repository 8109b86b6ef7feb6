"""The one thread that owns the model, and the bounded queue in front of it.

    requests of all clients --submit--> queue (bounded) --group of equal jobs--> perform --> futures

Jobs that arrive while a group is performed wait and join the next one. A group is the oldest job and the jobs behind it
that have the same group key, up to `batch`. A job whose client left is dropped from the queue.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from gavamoe.service.wait_estimate import WaitEstimate

LOG = logging.getLogger("gavamoe.service")

# After a group of several jobs, their clients often ask again at once. The next group then waits for them, for at most
# this share of the last group's duration. A lone client never waits.
LINGER_SHARE, LINGER_SECONDS = 0.1, 0.05


class QueueFullError(Exception):
    """The queue has no room for the jobs, or they would wait too long.

    Args:
        reason: why the jobs are refused.
        retry_after: when the jobs can probably be taken, in whole seconds.
    """

    def __init__(self, reason: str, retry_after: int):
        super().__init__(f"{reason}; try again in {retry_after} s")
        self.retry_after = retry_after


class WorkerDeadError(Exception):
    """The thread that owns the model has ended, so no job will be performed."""


class DeviceLostError(BaseException):
    """The device computes nothing more in this process. `perform` raises it, and the worker ends."""


@dataclass(eq=False)
class Job:
    """One unit of work for the model.

    Args:
        group: jobs with equal group keys may be performed together.
        work: what `perform` needs to know.
        future: receives the result.
        abandoned: set when nobody waits for the result any more.
    """

    group: Any
    work: Any
    future: Future[Any] = field(default_factory=Future)
    abandoned: threading.Event = field(default_factory=threading.Event)


class Worker:
    """Performs jobs in one thread.

    Args:
        perform: performs jobs with equal group keys and returns their results in order. It runs in the worker's thread.
            An exception fails its jobs; `DeviceLostError` ends the worker.
        capacity: jobs that may wait.
        batch: jobs performed together.
        max_wait: longest expected wait in seconds. Jobs that would wait longer are refused.
        observe: receives the size and the seconds of each group.

    Attributes:
        died: whether an error has ended the thread.
        on_death: called in the thread when an error ends it.
    """

    def __init__(
        self,
        perform: Callable[[list[Job]], Sequence[Any]],
        capacity: int,
        batch: int,
        max_wait: float = math.inf,
        observe: Callable[[int, float], None] = lambda size, seconds: None,
    ):
        self.perform, self.capacity, self.batch = perform, capacity, batch
        self.max_wait, self.observe = max_wait, observe
        self._queue: deque[Job] = deque()
        self._changed = threading.Condition()
        self._in_hand: list[Job] = []
        self._in_hand_since = 0.0
        self._closing = False
        self._dead = False
        self.died, self.on_death = False, lambda: None
        self._last_size, self._last_seconds, self._estimate = 0, 0.0, WaitEstimate(batch)
        self._thread = threading.Thread(target=self._run, name="gavamoe-worker", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return not self._dead and self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Number of jobs in the queue."""
        return len(self._queue)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue all of the jobs, or none.

        Raises:
            QueueFullError: There is no room for all of them, or they would wait longer than `max_wait`.
            WorkerDeadError: The thread has ended.
        """
        with self._changed:
            if not self.alive or self._closing:
                raise WorkerDeadError("the model's worker has stopped; restart the service")
            if len(self._queue) + len(jobs) > self.capacity:
                raise QueueFullError("the queue is full", max(1, math.ceil(self._seconds_to_drain())))
            if (wait := self._seconds_to_drain()) > self.max_wait:
                reason = f"the queue holds {wait:.0f} s of work, {self.max_wait:g} s are allowed"
                raise QueueFullError(reason, max(1, math.ceil(wait - self.max_wait)))
            self._queue.extend(jobs)
            self._changed.notify_all()

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Drop jobs that nobody waits for; texts that are being generated stop at their next token."""
        with self._changed:
            for job in jobs:
                job.future.cancel()  # first: a job that is abandoned may end at once, with a text that is cut short
                job.abandoned.set()
            self._queue = deque(job for job in self._queue if not job.abandoned.is_set())

    def close(self, seconds: float | None = None) -> bool:
        """Perform what is queued, end the thread, and return whether it ended in time."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _seconds_to_drain(self) -> float:
        """Return the expected seconds until the jobs in hand and those of the queue are done."""
        elapsed = time.monotonic() - self._in_hand_since
        return self._estimate.rest_of_group(len(self._in_hand), elapsed) + self._estimate.of_queue(len(self._queue))

    def _run(self) -> None:
        try:
            while jobs := self._take():
                self._perform(jobs)
                del jobs  # while the next group is awaited, nothing keeps a run that was replaced
        except BaseException as error:
            self.died = True
            LOG.critical("the worker died", exc_info=error, extra={"event": "worker_died"})
        finally:
            with self._changed:
                self._dead = True
                lost = [*self._in_hand, *self._queue]
                self._queue.clear()
            for job in lost:
                _fail(job, WorkerDeadError("the model's worker has stopped; restart the service"))
            if self.died:
                self.on_death()

    def _take(self) -> list[Job]:
        """Wait for jobs and return the next group; empty when the worker closes and the queue is empty."""
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            if not self._queue:
                return []
            if self._last_size > 1:
                give_up = time.monotonic() + min(LINGER_SHARE * self._last_seconds, LINGER_SECONDS)
                while len(self._queue) < self._last_size and (left := give_up - time.monotonic()) > 0:
                    self._changed.wait(left)
            if not self._queue:  # all of them were cancelled in the meantime
                self._last_size = 0
                return self._take()
            group = self._queue[0].group
            jobs = [job for job in self._queue if job.group == group][: self.batch]
            taken = set(map(id, jobs))
            self._queue = deque(job for job in self._queue if id(job) not in taken)
            self._in_hand, self._in_hand_since = jobs, time.monotonic()
            return jobs

    def _perform(self, jobs: list[Job]) -> None:
        start = time.monotonic()
        try:
            results = self.perform(jobs)
        except Exception as error:
            self._perform_alone(jobs, error)
        else:
            for job, result in zip(jobs, results, strict=True):
                _succeed(job, result)
        seconds = time.monotonic() - start
        self._last_size, self._last_seconds = len(jobs), seconds
        self._estimate.observe(len(jobs), seconds)
        self._in_hand = []
        self.observe(len(jobs), seconds)

    def _perform_alone(self, jobs: list[Job], error: Exception) -> None:
        """Perform the jobs of a failed group one by one, so that one bad job does not fail the others."""
        LOG.error("a batch failed", exc_info=error, extra={"event": "batch_failed", "jobs": len(jobs)})
        if len(jobs) == 1:
            _fail(jobs[0], error)
            return
        for job in jobs:
            try:
                _succeed(job, self.perform([job])[0])
            except Exception as own_error:
                _fail(job, own_error)


def _succeed(job: Job, result: Any) -> None:
    if not job.future.cancelled():
        try:
            job.future.set_result(result)
        except Exception:  # cancelled in this very moment
            job.abandoned.set()


def _fail(job: Job, error: Exception) -> None:
    if not job.future.done():
        try:
            job.future.set_exception(error)
        except Exception:  # cancelled in this very moment
            job.abandoned.set()
