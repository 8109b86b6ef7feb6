"""Time several variants side by side: they take turns, and each gets the median of its turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
DTYPE = torch.bfloat16 if CUDA else torch.float32


def now() -> float:
    """Return seconds: processor time on a CPU, which other work on the machine changes little; wall clock on a GPU."""
    if CUDA:
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def seconds(ways: Mapping[str, Callable[[], object]], rounds: int, warm: bool = True) -> dict[str, float]:
    """Return the median seconds of each variant over `rounds` turns, after one warm-up turn if `warm`."""
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + warm):
        for way, run in ways.items():
            start = now()
            run()
            if turn >= warm:
                taken[way].append(now() - start)
    return {way: statistics.median(times) for way, times in taken.items()}
