"""Prefetch an iterator: a thread produces the next element while the caller uses the current one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")
_END = object()


def prefetch(elements: Iterator[T]) -> Iterator[T]:
    """Yield the same elements in the same order, produced one or two in advance.

    An exception is raised after the same element as without prefetching. Reading, parsing and writing release the
    global interpreter lock, so they run in parallel on two cores.
    """
    produced: queue.Queue[object] = queue.Queue(maxsize=1)
    stopped = threading.Event()

    def put(element: object) -> bool:
        while not stopped.is_set():
            try:
                produced.put(element, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for element in elements:
                if not put(element):
                    return
            put(_END)
        except BaseException as error:
            put(_Raised(error))

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        while (element := produced.get()) is not _END:
            if isinstance(element, _Raised):
                raise element.error
            yield element  # type: ignore[misc]
    finally:
        stopped.set()
        worker.join()


class _Raised:
    """An exception of the producing thread, passed through the queue."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
