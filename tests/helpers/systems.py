"""Systems by name for the tests of baselines."""

from __future__ import annotations

from gavamoe.baselines.base import System
from gavamoe.baselines.registry import SystemContext, registered_systems
from gavamoe.config import RunConfig

NETWORKS = ("att2seq", "nrt", "peter", "peter+", "pepler", "pepler-d", "xrec")


def create(name: str, parameters: int) -> System:
    """Return an untrained system with about that many parameters."""
    return registered_systems()[name].factory(SystemContext(RunConfig(), parameters=parameters))
