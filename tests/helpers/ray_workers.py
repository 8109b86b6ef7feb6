"""A local Ray cluster for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray

from gavamoe.ray_cluster import ENVIRONMENT

SRC = Path(__file__).parents[2] / "src"


@contextmanager
def two_workers() -> Iterator[str]:
    """Start a cluster with processors for two workers; yield its address."""
    environment = {**ENVIRONMENT, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, address="local")
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()
