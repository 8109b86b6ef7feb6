"""From a request to explanations: the store first, then the worker, within the deadline.

request --plan_pairs--> PairPlan (key, work) --store--> found
                                             '--worker--> generated --> store
                                                  '--deadline--> template, or 504
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gavamoe.errors import InputError
from gavamoe.pipeline.explanation_store import PairKey, StoredExplanation
from gavamoe.service.generation import TokensWork, pairs_frame
from gavamoe.service.guarded_store import GuardedStore
from gavamoe.service.metrics import ServiceMetrics
from gavamoe.service.plans import PairPlan, RefusedError, check_rating, plan_pairs
from gavamoe.service.schemas import ExplainRequest
from gavamoe.service.served_run import ServedRun
from gavamoe.service.template import explain_by_template
from gavamoe.service.worker import Job, QueueFullError, Worker, WorkerDeadError

Gone = Callable[[], Awaitable[None]]  # returns when the client has left
Stored = dict[str, StoredExplanation]  # by the digest of its key
Events = AsyncGenerator[tuple[str, dict[str, Any]] | None, None]
PING_SECONDS = 15.0


class ClientGoneError(Exception):
    """The client left before its answer was complete."""


@dataclass(frozen=True)
class PairStream:
    """The streamed explanation of one pair.

    Args:
        events: words, then the explanation or an error; None is a ping.
        stop: stops the work that is not done. A generator that was never started does not run its `finally`, so
            closing `events` would not do that for a client that left before the first event.
    """

    events: Events
    stop: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Answers:
    """Explains the pairs of requests.

    Args:
        worker: owns the model.
        store: keeps explanations.
        metrics: counts them by source.
        default_deadline: seconds for requests without a deadline.
    """

    worker: Worker
    store: GuardedStore
    metrics: ServiceMetrics
    default_deadline: float

    async def explain(self, run: ServedRun, request: ExplainRequest, gone: Gone) -> list[dict[str, Any]]:
        """Return the explanations of a request in the order of its pairs.

        Raises:
            RefusedError: The request cannot be answered.
            ClientGoneError: The client left; the work for it has stopped.
        """
        plans = plan_pairs(run, request)
        known, poorer = await self._look_up(plans)
        jobs = self._submit([plan for plan in plans if plan.digest not in known], poorer)
        complete = await self._wait(list(jobs.values()), request, gone)
        late = [plan for plan in plans if plan.digest in jobs and jobs[plan.digest] not in complete]
        templates = await asyncio.to_thread(self._templates, late) if late else {}
        sources = {digest: ("store", stored) for digest, stored in known.items()}
        sources |= {digest: ("model", job.future.result()) for digest, job in jobs.items() if job in complete}
        sources |= {digest: ("template", stored) for digest, stored in templates.items()}
        return await self._answers(plans, sources)

    async def stream(self, run: ServedRun, request: ExplainRequest) -> PairStream:
        """Return the events of one pair, and what the caller must call when the response ends.

        The work is accepted before the events are returned, so that a refusal has a status of its own.

        Raises:
            RefusedError: The request cannot be answered.
        """
        (plan,) = plan_pairs(run, request, streamed=True)
        known, poorer = await self._look_up([plan])
        if plan.digest in known:
            return PairStream(self._stream_known(plan, known[plan.digest]))
        loop, words = asyncio.get_running_loop(), asyncio.Queue[str | None]()
        # Words come from the worker's thread. The loop may have closed while the last ones arrive.
        plan.work.reader.send = lambda piece: _call_soon(loop, words.put_nowait, piece)
        (job,) = self._submit([plan], poorer).values()
        job.future.add_done_callback(lambda future: _call_soon(loop, words.put_nowait, None))
        return PairStream(self._stream_job(plan, job, words, request), partial(self._stop_unread, job))

    async def experts_of_tokens(self, work: TokensWork, gone: Gone) -> list[dict[str, Any]]:
        """Return the experts of each token of a text.

        Raises:
            RefusedError: The queue is full, the worker is dead, or the deadline passed.
            ClientGoneError: The client left.
        """
        if work.rating is not None:
            check_rating(work.run, work.rating, "rating")
        job = work.job()
        self._queue([job])
        if not await self._wait_for([job], self.default_deadline, gone):
            raise self._deadline_missed()
        return list(_result(job.future))

    async def _look_up(self, plans: Sequence[PairPlan]) -> tuple[Stored, Stored]:
        """Return what the store has by digest: what holds as much as is requested, and what holds less."""
        found = await self.store.lookup(list({plan.digest for plan in plans}))
        known = {
            plan.digest: found[plan.digest]
            for plan in plans
            if plan.digest in found and found[plan.digest].suffices(plan.work.evidence, plan.work.experts)
        }
        hits = sum(plan.digest in known for plan in plans)
        self.metrics.store_lookups.labels("hit").inc(hits)
        self.metrics.store_lookups.labels("miss").inc(len(plans) - hits)
        return known, {digest: stored for digest, stored in found.items() if digest not in known}

    def _submit(self, plans: Sequence[PairPlan], poorer: Stored) -> dict[str, Job]:
        """Queue pairs, equal ones once, and return their jobs by digest.

        Args:
            plans: the pairs.
            poorer: what is stored of them. The new explanation replaces it, so it holds at least as much.
        """
        jobs = {}
        for plan in plans:
            work, stored = plan.work, poorer.get(plan.digest)
            if stored is not None:
                evidence = max(work.evidence, stored.evidence_requested)
                work = replace(work, evidence=evidence, experts=work.experts or stored.has_experts)
            jobs[plan.digest] = work.job()
        keys = {plan.digest: plan.key for plan in plans}
        self._queue(list(jobs.values()))
        for digest, job in jobs.items():
            job.future.add_done_callback(partial(self._keep, keys[digest], job))
        return jobs

    def _queue(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        try:
            self.worker.submit(jobs)
        except QueueFullError as error:
            self.metrics.refused.labels("queue_full").inc()
            raise RefusedError(429, str(error), error.retry_after) from None
        except WorkerDeadError as error:
            raise RefusedError(503, str(error)) from None

    def _keep(self, key: PairKey, job: Job, future: Future[Any]) -> None:
        """Store a finished explanation, in the worker's thread; one whose reader left may be cut short."""
        if not future.cancelled() and future.exception() is None and not job.abandoned.is_set():
            stored = future.result()
            if stored is not None:
                self.store.save(key, stored)

    async def _wait(self, jobs: list[Job], request: ExplainRequest, gone: Gone) -> set[Job]:
        """Wait for jobs and return those that are complete; all of them, unless the request takes a template."""
        seconds = self.default_deadline if request.deadline_ms is None else request.deadline_ms / 1000
        in_time = await self._wait_for(jobs, seconds, gone)
        complete = {job for job in jobs if job.future.done() and not job.future.cancelled()}
        if not in_time and request.fallback is None:
            raise self._deadline_missed()
        if not in_time:
            self.metrics.refused.labels("deadline").inc()
        for job in complete:
            _result(job.future)
        return complete

    async def _wait_for(self, jobs: list[Job], seconds: float, gone: Gone) -> bool:
        """Wait until all jobs are done and return whether that was in time; work that is not done is stopped."""
        if not jobs:
            return True
        futures = {asyncio.wrap_future(job.future) for job in jobs}
        all_done: asyncio.Future[Any] = asyncio.gather(*futures, return_exceptions=True)
        left: asyncio.Future[Any] = asyncio.ensure_future(gone())
        try:
            await asyncio.wait({all_done, left}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if all_done.done():
                return True
            if left.done():
                self.metrics.refused.labels("client_gone").inc()
                raise ClientGoneError
            return False
        finally:
            left.cancel()
            self._stop([job for job in jobs if not job.future.done()])

    def _stop(self, jobs: Sequence[Job]) -> None:
        if jobs:
            self.worker.cancel(jobs)

    def _deadline_missed(self) -> RefusedError:
        self.metrics.refused.labels("deadline").inc()
        return RefusedError(504, "the deadline passed before the answer was complete; allow more time or fewer pairs")

    def _templates(self, plans: Sequence[PairPlan]) -> dict[str, StoredExplanation]:
        """Return template answers by digest."""
        templates = {}
        for plan in plans:
            work = plan.work
            frame = pairs_frame([work], work.condition)
            explainer, histories = work.run.explainer, [work.history]
            (answer,) = explain_by_template(explainer, frame, work.condition, work.evidence, histories)
            templates[plan.digest] = StoredExplanation(answer, work.evidence, False)
        return templates

    async def _answers(
        self, plans: Sequence[PairPlan], sources: dict[str, tuple[str, StoredExplanation]]
    ) -> list[dict[str, Any]]:
        """Return explanations as the API answers them, with as much evidence and experts as each pair asked for."""
        run = plans[0].work.run
        answers = []
        for plan in plans:
            work = plan.work
            if work.history is None:
                details = run.pair_details(work.user, work.item)
            else:  # the estimate may take a while
                details = await asyncio.to_thread(run.guest_details, work.history, work.item)
            source, stored = sources[plan.digest]
            self.metrics.explanations.labels(source).inc()
            answer = {**stored.explanation, **details, "source": source}
            answer["evidence"] = answer["evidence"][: work.evidence]
            answer["experts"] = answer["experts"] if work.experts else None
            answers.append(answer)
        return answers

    async def _stream_known(self, plan: PairPlan, stored: StoredExplanation) -> Events:
        for number, word in enumerate(stored.explanation["text"].split(" ")):
            yield "word", {"text": f" {word}" if number else word}
        (answer,) = await self._answers([plan], {plan.digest: ("store", stored)})
        yield "explanation", answer

    async def _stream_job(
        self, plan: PairPlan, job: Job, words: asyncio.Queue[str | None], request: ExplainRequest
    ) -> Events:
        start = time.monotonic()
        seconds = self.default_deadline if request.deadline_ms is None else request.deadline_ms / 1000
        first = True
        while True:
            left = start + seconds - time.monotonic()
            try:
                word = await asyncio.wait_for(words.get(), max(min(left, PING_SECONDS), 0))
            except TimeoutError:
                if left > PING_SECONDS:
                    yield None
                    continue
                self._stop([job])
                yield await self._late(plan, request)
                return
            if word is None:
                break
            if first:
                self.metrics.first_word_seconds.observe(time.monotonic() - start)
                first = False
            yield "word", {"text": word}
        try:
            stored = _result(job.future)
        except RefusedError as error:
            yield "error", {"error": error.line}
            return
        (answer,) = await self._answers([plan], {plan.digest: ("model", stored)})
        yield "explanation", answer

    def _stop_unread(self, job: Job) -> None:
        """Stop the work of a stream whose client left; nothing is left to stop after the end or the deadline."""
        if not job.future.done():
            self.metrics.refused.labels("client_gone").inc()
            self._stop([job])

    async def _late(self, plan: PairPlan, request: ExplainRequest) -> tuple[str, dict[str, Any]]:
        """Return the event that ends a stream whose deadline passed."""
        missed = self._deadline_missed()
        if request.fallback is None:
            return "error", {"error": missed.line}
        templates = await asyncio.to_thread(self._templates, [plan])
        (answer,) = await self._answers([plan], {plan.digest: ("template", templates[plan.digest])})
        return "explanation", answer


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[..., Any], value: Any) -> None:
    try:
        loop.call_soon_threadsafe(call, value)
    except RuntimeError:  # the loop is closed, so nobody reads any more
        return


def _result(future: Future[Any]) -> Any:
    """Return the result of a job.

    Raises:
        RefusedError: The job failed.
    """
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, InputError):
        raise RefusedError(422, str(error)) from None
    raise RefusedError(503, f"the text could not be generated ({type(error).__name__}); try again") from None
