"""How this process uses the machine."""

from __future__ import annotations


def default_device() -> str:
    """Where to run when nobody says: the GPU, where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
