"""The command line inside the process of the tests, which saves the imports of torch and transformers for each call."""

from __future__ import annotations

import logging
import os
import random
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch


class Finished(NamedTuple):
    """What a command left; the names are those of `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


CommandLine = Callable[..., Finished]


@contextmanager
def kept_process_state() -> Iterator[None]:
    """Give back what a command may change for the process and what would end with a process of its own."""
    environment, folder, terminate = dict(os.environ), os.getcwd(), signal.getsignal(signal.SIGTERM)
    logger, threads = logging.getLogger(), torch.get_num_threads()
    handlers, level = list(logger.handlers), logger.level
    seeds = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        random.setstate(seeds[0])
        np.random.set_state(seeds[1])
        torch.set_rng_state(seeds[2])
        torch.set_num_threads(threads)
        logger.handlers[:] = handlers
        logger.setLevel(level)
        signal.signal(signal.SIGTERM, terminate)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
