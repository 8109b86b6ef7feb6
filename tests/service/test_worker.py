"""The worker alone: groups, the bound of the queue, cancellation, failures and the end."""

import gc
import threading
import time
import weakref

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gavamoe.service.wait_estimate import WaitEstimate
from gavamoe.service.worker import DeviceLostError, Job, QueueFullError, Worker, WorkerDeadError


def echo(jobs):
    return [job.work for job in jobs]


class Held:
    """Echoes, but only after it is opened; keeps the works of each group."""

    def __init__(self):
        self.open, self.groups = threading.Event(), []

    def __call__(self, jobs):
        assert self.open.wait(30)
        self.groups.append([job.work for job in jobs])
        return echo(jobs)


@settings(max_examples=20)
@given(groups=st.lists(st.integers(0, 3), min_size=1, max_size=30), batch=st.integers(1, 7))
def test_every_job_gets_its_own_result_and_shares_groups_only_with_equals(groups, batch):
    held = Held()
    worker = Worker(held, capacity=100, batch=batch)
    jobs = [Job(group, (group, number)) for number, group in enumerate(groups)]
    worker.submit(jobs)
    held.open.set()
    assert [job.future.result(30) for job in jobs] == [job.work for job in jobs]
    assert worker.close(30)
    for together in held.groups:
        assert len({group for group, _ in together}) == 1
        assert len(together) <= batch
        assert together == sorted(together, key=lambda work: work[1])


def test_jobs_that_arrive_while_a_group_is_performed_join_the_next():
    held = Held()
    worker = Worker(held, capacity=10, batch=10)
    worker.submit([Job("a", 0)])
    time.sleep(0.1)
    for number in range(1, 6):
        worker.submit([Job("a", number)])
    held.open.set()
    assert worker.close(30)
    assert held.groups == [[0], [1, 2, 3, 4, 5]]


def test_a_request_that_does_not_fit_is_refused_whole():
    held = Held()
    worker = Worker(held, capacity=3, batch=1)
    worker.submit([Job("a", 0)])
    while worker.waiting:
        time.sleep(0.01)
    worker.submit([Job("a", 1), Job("a", 2)])
    with pytest.raises(QueueFullError) as refused:
        worker.submit([Job("a", 3), Job("a", 4)])
    assert refused.value.retry_after >= 1
    assert worker.waiting == 2
    held.open.set()
    assert worker.close(30)


def test_jobs_that_would_wait_too_long_are_refused_until_the_queue_is_shorter():
    def perform(jobs):
        time.sleep(0.05)
        return echo(jobs)

    worker = Worker(perform, capacity=1000, batch=1, max_wait=0.2)
    first = [Job("a", number) for number in range(60)]
    worker.submit(first)  # nothing is known yet of the speed
    first[20].future.result(30)
    with pytest.raises(QueueFullError, match=r"s of work, 0\.2 s are allowed; try again in") as refused:
        worker.submit([Job("a", 60)])
    assert refused.value.retry_after >= 1
    first[-1].future.result(30)
    last = Job("a", 61)
    worker.submit([last])
    assert last.future.result(30) == 61
    assert worker.close(30)


def test_jobs_that_one_group_can_hold_are_accepted_after_single_ones():
    def perform(jobs):
        time.sleep(0.1)
        return echo(jobs)

    worker = Worker(perform, capacity=100, batch=32, max_wait=0.5)
    for number in range(5):
        single = Job("a", number)
        worker.submit([single])
        single.future.result(30)
    for number in range(32):  # one by one, they would take 3.2 seconds
        worker.submit([Job("a", number)])
    assert worker.close(30)


@given(
    fixed=st.floats(0, 5),
    per_job=st.floats(0, 1),
    sizes=st.lists(st.integers(1, 32), min_size=2, max_size=20),
    queue=st.integers(0, 200),
)
def test_the_wait_is_exact_if_groups_take_a_fixed_time_and_a_time_per_job(fixed, per_job, sizes, queue):
    assume(len(set(sizes)) > 1)
    estimate = WaitEstimate(batch=32)
    assert estimate.of_queue(queue) == 0
    for size in sizes:
        estimate.observe(size, fixed + per_job * size)
    groups = -(-queue // 32)
    assert estimate.of_queue(queue) == pytest.approx(groups * fixed + queue * per_job, rel=1e-3, abs=1e-3)
    assert estimate.rest_of_group(4, elapsed=1e9) == 0


def test_cancelled_jobs_leave_the_queue_and_make_room():
    held = Held()
    worker = Worker(held, capacity=2, batch=4)
    worker.submit([Job("a", 0)])
    while worker.waiting:
        time.sleep(0.01)
    cancelled = [Job("a", 1), Job("a", 2)]
    worker.submit(cancelled)
    worker.cancel(cancelled)
    last = Job("a", 3)
    worker.submit([last])
    held.open.set()
    assert last.future.result(30) == 3
    assert worker.close(30)
    assert held.groups == [[0], [3]]


def test_one_bad_job_does_not_fail_the_others_of_its_group():
    def perform(jobs):
        if any(job.work == "bad" for job in jobs):
            raise ZeroDivisionError
        return echo(jobs)

    worker = Worker(perform, capacity=10, batch=10)
    jobs = [Job("a", work) for work in ("one", "bad", "two")]
    worker.submit(jobs)
    assert jobs[0].future.result(30) == "one"
    assert jobs[2].future.result(30) == "two"
    with pytest.raises(ZeroDivisionError):
        jobs[1].future.result(30)
    assert worker.alive
    assert worker.close(30)


def test_closing_performs_what_was_accepted_and_refuses_more():
    worker = Worker(echo, capacity=100, batch=3)
    jobs = [Job("a", number) for number in range(20)]
    worker.submit(jobs)
    assert worker.close(30)
    assert [job.future.result(0) for job in jobs] == list(range(20))
    with pytest.raises(WorkerDeadError):
        worker.submit([Job("a", 0)])


def test_a_group_that_is_done_is_not_kept_while_the_next_is_awaited():
    worker = Worker(echo, capacity=10, batch=1)
    job = Job("a", 1)
    kept = weakref.ref(job)
    worker.submit([job])
    job.future.result(30)
    del job
    until = time.monotonic() + 30
    while kept() is not None:
        assert time.monotonic() < until
        gc.collect()
    assert worker.close(30)


@pytest.mark.parametrize("error", [SystemExit, DeviceLostError])
def test_a_dead_worker_fails_its_jobs_instead_of_leaving_them_waiting(error):
    def die(jobs):
        raise error

    worker = Worker(die, capacity=10, batch=1)
    jobs = [Job("a", 1), Job("a", 2)]
    worker.submit(jobs)
    for job in jobs:
        with pytest.raises(WorkerDeadError):
            job.future.result(30)
    assert not worker.alive
    with pytest.raises(WorkerDeadError):
        worker.submit([Job("a", 3)])
