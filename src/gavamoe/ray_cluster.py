"""A connection to a Ray cluster, and tasks on it whose results come back in order.

Work that Ray repeats after the loss of a worker must not write files: only the caller does.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from gavamoe.errors import InputError, RunError

__all__ = ["ENVIRONMENT", "connected_to_ray", "ray", "start_ahead"]

try:
    import ray
    import ray.data
except ModuleNotFoundError as error:
    raise InputError(
        f"{error.name} is not installed; install what --engine ray needs: pip install 'gavamoe[ray]'"
    ) from None

# No telemetry, and no warnings of the core, which at every start says that a restart of workers may fail.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
ArgumentT = TypeVar("ArgumentT")
HandleT = TypeVar("HandleT")


@contextmanager
def connected_to_ray(advice: str) -> Iterator[None]:
    """Connect to the cluster of RAY_ADDRESS, or start one on this machine, while the block runs.

    A connection of the caller is used and kept.

    Args:
        advice: what to do after a failure; it ends the message.

    Raises:
        RunError: The cluster cannot be reached or failed.
    """
    connected = ray.is_initialized()
    try:
        if not connected:
            for name, value in ENVIRONMENT.items():
                os.environ.setdefault(name, value)
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        yield
    except (ConnectionError, ray.exceptions.RayError) as error:
        if isinstance(error, ray.exceptions.RayTaskError):  # a fault of the program: its traceback is needed
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RunError(f"Ray failed: {reason}; {advice}") from None
    finally:
        if not connected:
            ray.shutdown()


def start_ahead(start: Callable[[ArgumentT], HandleT], arguments: Iterable[ArgumentT]) -> Iterator[HandleT]:
    """Yield what `start` returns for each argument, in order, with a task for each processor.

    There are no more tasks than processors. A task that waits for the caller keeps its processor, and the task that the
    caller waits for must find one if Ray repeats it.
    """
    started: deque[HandleT] = deque()
    ahead = int(ray.cluster_resources().get("CPU", 1)) - 1
    for argument in arguments:
        started.append(start(argument))
        if len(started) > ahead:
            yield started.popleft()
    yield from started
