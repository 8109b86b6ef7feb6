"""Prefetching preserves order and errors, and leaves no thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from gavamoe.data.readers.prefetch import prefetch


def failing_after(count: int) -> Iterator[int]:
    yield from range(count)
    raise ValueError("the source broke")


def test_elements_and_errors_keep_their_order() -> None:
    assert list(prefetch(iter(range(100)))) == list(range(100))
    seen: list[int] = []
    with pytest.raises(ValueError, match="the source broke"):
        seen.extend(prefetch(failing_after(5)))
    assert seen == list(range(5))


def test_early_exit_leaves_no_thread() -> None:
    before = threading.active_count()
    for element in prefetch(iter(range(1000))):
        if element == 3:
            break
    assert threading.active_count() == before
