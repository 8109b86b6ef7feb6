"""Explain windows of pairs on a Ray cluster: an actor pool of Ray Data, in which each worker loads the run once.

    windows ──pickled, one per row──> RunWorker ──pickled──> explanations, in the order in which they are finished

Ray repeats the window of a worker that dies, on another worker. Files are written by the caller alone, so a repeated
window is written once. Every machine needs this package, and the run under the same path.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gavamoe.errors import InputError, RunError
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.explanation import Explanation
from gavamoe.pipeline.pair_windows import Engine, PairWindow, WindowRequest, model_digest
from gavamoe.progress import Advance
from gavamoe.ray_cluster import connected_to_ray, ray

INTERRUPTED = "finished windows are kept, continue with --resume"


class RunWorker:
    """A worker of the pool.

    Args:
        run: the run directory.
        request: how windows are explained.
    """

    def __init__(self, run: Path, request: WindowRequest):
        self.run, self.request = run, request
        self.explainer: Explainer | None = None  # loaded with the first window, so that its errors are returned too

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Explain a pickled window; an `InputError` is returned, as Ray would hide it in a traceback."""
        window: PairWindow = pickle.loads(row["window"])
        outcome: list[Explanation] | InputError
        try:
            self.explainer = self.explainer or self._load()
            outcome = self.request.explain(self.explainer, window, lambda steps, text: None)
        except InputError as error:
            outcome = error
        return {"number": window.number, "outcome": pickle.dumps(outcome)}

    def _load(self) -> Explainer:
        explainer = Explainer.from_pretrained(self.run)
        if model_digest(explainer) != self.request.model:
            raise RunError(f"the machine {os.uname().nodename} has another run at {self.run}; copy the run there")
        return explainer


def ray_engine(run: Path) -> Engine:
    """Return an engine that explains windows on the cluster of RAY_ADDRESS, or on one of this machine's processors.

    The pool has a worker for each GPU of the cluster, or for each processor where there is no GPU. It grows with a
    cluster that grows.

    Args:
        run: the run directory, under a path that every machine of the cluster has.

    Raises:
        RunError: The cluster cannot be reached or failed, or a machine of it has another run.
    """

    def explain(
        windows: Sequence[PairWindow], request: WindowRequest, advance: Advance
    ) -> Iterator[tuple[PairWindow, list[Explanation]]]:
        if not windows:
            return
        by_number = {window.number: window for window in windows}
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False  # `track` shows one
        with connected_to_ray(INTERRUPTED):
            rows = [{"window": pickle.dumps(window)} for window in windows]
            explained = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
                RunWorker,
                fn_constructor_args=[run.absolute(), request],
                **_pool(len(windows)),
            )
            for row in explained.iter_rows():
                outcome = pickle.loads(row["outcome"])
                if isinstance(outcome, InputError):
                    raise outcome
                window = by_number[row["number"]]
                advance(len(window.pairs), "")
                yield window, outcome

    return explain


def _pool(windows: int) -> dict[str, Any]:
    """Return the options of `Dataset.map` for the pool of workers."""
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    workers = max(1, min(windows, gpus or int(resources.get("CPU", 1))))
    # A worker takes one window at a time: a second one in its queue would wait while another worker is idle.
    strategy = ray.data.ActorPoolStrategy(
        min_size=1, initial_size=workers, max_size=windows, max_tasks_in_flight_per_actor=1
    )
    return {"compute": strategy, "num_cpus": 1, "num_gpus": 1 if gpus else None}
