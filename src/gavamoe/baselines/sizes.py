"""How wide a network may be to have as many parameters as the system it is compared with."""

from __future__ import annotations

from collections.abc import Callable

import torch

from gavamoe.baselines.text_model import TextModel

WIDEST = 8192


def matched_width(build: Callable[[int], TextModel], parameters: int, heads: int) -> int:
    """The width whose network comes closest to `parameters`; a multiple of 2 * heads, so that heads divide it evenly.

    Networks are built without memory (on torch's meta device), and their size grows with their width.
    """
    step = 2 * heads

    def size(units: int) -> int:
        with torch.device("meta"):
            return build(units * step).size()

    low, high = 1, max(WIDEST // step, 1)
    while low < high:  # the first width that has as many
        middle = (low + high) // 2
        low, high = (low, middle) if size(middle) >= parameters else (middle + 1, high)
    if low > 1 and parameters - size(low - 1) < size(low) - parameters:
        low -= 1
    return low * step
