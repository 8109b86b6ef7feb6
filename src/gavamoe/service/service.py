"""The parts of a running service, and what changes while it runs: the run that is served."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from gavamoe.errors import RunError
from gavamoe.pipeline.explanation_store import ExplanationStore
from gavamoe.service.answers import Answers
from gavamoe.service.generation import perform
from gavamoe.service.guarded_store import GuardedStore
from gavamoe.service.metrics import ServiceMetrics
from gavamoe.service.served_run import ServedRun
from gavamoe.service.settings import ServiceSettings
from gavamoe.service.worker import Worker

LOG = logging.getLogger("gavamoe.service")


class Service:
    """Owns the worker, the store and the run that is served.

    Args:
        run: the run to serve first.
        settings: limits.
        store: keeps explanations; None keeps them in memory only.

    Attributes:
        run: the run that is served now; requests read it once.
        stopping: whether a shutdown has begun.
    """

    def __init__(self, run: ServedRun, settings: ServiceSettings, store: ExplanationStore | None):
        self.run, self.settings, self.stopping = run, settings, False
        self.metrics = ServiceMetrics()
        self.worker = Worker(perform, settings.queue, settings.batch, settings.max_wait, self._observe)
        self.store = GuardedStore(store, self.metrics)
        self.answers = Answers(self.worker, self.store, self.metrics, settings.default_deadline_ms / 1000)
        self.metrics.queued.set_function(lambda: self.worker.waiting)
        self.metrics.worker_alive.set_function(lambda: float(self.worker.alive))
        self._reloading = asyncio.Lock()
        self._announce()

    @property
    def ready(self) -> bool:
        """Whether requests can be answered."""
        return self.worker.alive and not self.stopping

    async def reload(self, run: str | None = None) -> ServedRun:
        """Serve another run, or read the directory of the current one again; requests in progress keep theirs.

        Args:
            run: name of a directory beside the run that is served, or its path.

        Raises:
            RunError: The run cannot be loaded or lies elsewhere; the current one is kept.
        """
        async with self._reloading:
            try:
                path = self._path_of(run)
                loaded = await asyncio.to_thread(ServedRun.load, path, self.settings.verify)
            except Exception as error:
                self.metrics.reloads.labels("failed").inc()
                LOG.error("reload failed", extra={"event": "reload_failed", "error": type(error).__name__})
                raise
            self.run = loaded
            self.metrics.reloads.labels("done").inc()
            self._announce()
            return loaded

    def close(self) -> None:
        """Finish the work that was accepted, and write what is to be stored."""
        self.stopping = True
        if not self.worker.close(self.settings.shutdown_seconds):
            LOG.error("the worker did not finish in time", extra={"event": "shutdown_late"})
        self.store.close()

    def _path_of(self, run: str | None) -> Path:
        """Return the directory of a run beside the one that is served: a request must not make others readable."""
        if run is None:
            return self.run.path
        beside = self.run.path.absolute().parent
        path = Path(run) if Path(run).is_absolute() else beside / run
        if path.absolute().parent != beside or path.name in ("", ".", ".."):
            raise RunError("run: only a directory beside the run that is served can be loaded; state its name")
        return path

    def _observe(self, pairs: int, seconds: float) -> None:
        self.metrics.batch_pairs.observe(pairs)
        self.metrics.batch_seconds.observe(seconds)

    def _announce(self) -> None:
        self.metrics.run.info({"run": self.run.id, "digest": self.run.digest})
        LOG.info("serving a run", extra={"event": "run", "run": self.run.id})
