"""Working ahead: the next element is made in a thread of its own while this one is used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")
_END = object()


def prefetch(elements: Iterator[T]) -> Iterator[T]:
    """Yield the same elements in the same order, one or two made in advance; an error arrives where it would have.

    Reading, parsing and writing release the interpreter's lock, so two of them run on two cores.
    """
    made: queue.Queue[object] = queue.Queue(maxsize=1)
    stopped = threading.Event()

    def put(element: object) -> bool:
        while not stopped.is_set():
            try:
                made.put(element, timeout=0.1)
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
        while (element := made.get()) is not _END:
            if isinstance(element, _Raised):
                raise element.error
            yield element  # type: ignore[misc]
    finally:
        stopped.set()
        worker.join()


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error
