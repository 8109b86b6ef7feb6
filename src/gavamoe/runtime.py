"""How this process uses the machine.

A training step frees and asks again for the same large blocks. By default glibc returns them to the kernel and faults
every page in anew, which can cost as much as the arithmetic (benchmarks/README.md).
"""

from __future__ import annotations

import ctypes
import os
import sys

# mallopt's parameters, from malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def default_device() -> str:
    """Where to run when nobody says: the GPU, where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def keep_freed_memory() -> None:
    """Let glibc keep large freed blocks for the next step, and torch ask for huge pages; elsewhere nothing happens.

    Call it before torch allocates. A choice that the environment already makes is left alone.
    """
    if not sys.platform.startswith("linux"):
        return
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
