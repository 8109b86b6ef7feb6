"""How this process uses the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta


def default_device() -> str:
    """Where to run when nobody says: the GPU, where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def bf16_pays(precision: str) -> bool:
    """Whether to train in bf16: `auto` says yes on a GPU that has it, and no on a CPU.

    Measured: AVX512-bf16 multiplies faster, but at these sizes the casts and the backward's layouts eat the gain.
    """
    import torch

    if precision != "auto":
        return precision == "bf16"
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def processes() -> int:
    """How many processes train together (torchrun, accelerate launch); 1 without."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of the processes this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def leads() -> bool:
    """Whether this process is the one that writes and speaks; the others only compute."""
    return rank() == 0


@contextmanager
def leader_first() -> Iterator[bool]:
    """Yield whether this process leads; the others begin the block when the leader has finished it."""
    if processes() == 1:
        yield True
        return
    import torch
    from accelerate import PartialState

    # The others wait through all of stage 1: longer than the half hour that a collective may take by default.
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=7))
    with state.main_process_first():
        yield state.is_main_process
