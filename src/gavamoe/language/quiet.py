"""Silence for transformers and the Hugging Face hub during a call, restored afterwards.

The package reports progress and errors itself. A library must not change its caller's process, so nothing stays silent
after the call.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars
from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging as transformers_logging


class _Silence:
    """Counts the calls that want silence: the first one silences, the last one restores (threads may overlap)."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depth = 0

    def enter(self) -> None:
        with self.lock:
            if self.depth == 0:
                self.transformers_level = transformers_logging.get_verbosity()
                self.hub_level = hub_logging.get_verbosity()
                self.transformers_bars = transformers_logging.is_progress_bar_enabled()
                self.hub_bars_disabled = are_progress_bars_disabled()
                transformers_logging.set_verbosity_error()
                hub_logging.set_verbosity_error()
                transformers_logging.disable_progress_bar()  # disables the hub's bars too
            self.depth += 1

    def leave(self) -> None:
        with self.lock:
            self.depth -= 1
            if self.depth == 0:
                transformers_logging.set_verbosity(self.transformers_level)
                hub_logging.set_verbosity(self.hub_level)
                if self.transformers_bars:
                    transformers_logging.enable_progress_bar()  # enables the hub's bars too
                if self.hub_bars_disabled:
                    disable_progress_bars()


_SILENCE = _Silence()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Show only errors of transformers and the hub, and none of their progress bars, inside the block.

    Also usable as a decorator. Verbosity and progress bars are restored when the block ends, even by an exception.
    Blocks may nest and overlap in several threads.
    """
    _SILENCE.enter()
    try:
        yield
    finally:
        _SILENCE.leave()
