"""Metrics for Prometheus. Labels have few values: routes, outcomes and names of operations, never names of users."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
PAIRS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class ServiceMetrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Counter(
            "gavamoe_requests_total", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "gavamoe_request_seconds",
            "Seconds until the end of an answer.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.first_word_seconds = Histogram(
            "gavamoe_first_word_seconds",
            "Seconds until the first word of a stream.",
            buckets=SECONDS,
            registry=registry,
        )
        self.explanations = Counter(
            "gavamoe_explanations_total",
            "Explanations by source: model, store or template.",
            ["source"],
            registry=registry,
        )
        self.refused = Counter(
            "gavamoe_refused_total",
            "Work refused or stopped: queue_full, deadline or client_gone.",
            ["reason"],
            registry=registry,
        )
        self.batch_pairs = Histogram(
            "gavamoe_batch_pairs", "Pairs generated together.", buckets=PAIRS, registry=registry
        )
        self.batch_seconds = Histogram(
            "gavamoe_batch_seconds", "Seconds of the generation of a batch.", buckets=SECONDS, registry=registry
        )
        self.queued = Gauge("gavamoe_queue_pairs", "Pairs that wait for the model.", registry=registry)
        self.worker_alive = Gauge("gavamoe_worker_alive", "Whether the model's worker runs.", registry=registry)
        self.store_up = Gauge("gavamoe_store_up", "Whether the store answered last time.", registry=registry)
        self.store_errors = Counter(
            "gavamoe_store_errors_total",
            "Failures of the store: read, write or feedback.",
            ["operation"],
            registry=registry,
        )
        self.store_lost = Counter(
            "gavamoe_store_lost_total", "Explanations that were not written to the store.", registry=registry
        )
        self.store_lookups = Counter(
            "gavamoe_store_lookups_total", "Pairs looked up: hit or miss.", ["outcome"], registry=registry
        )
        self.feedback = Counter("gavamoe_feedback_total", "Feedback that was kept.", ["useful"], registry=registry)
        self.reloads = Counter(
            "gavamoe_reloads_total", "Reloads of a run: done or failed.", ["outcome"], registry=registry
        )
        self.run = Info("gavamoe_run", "The run that is served.", registry=registry)
        for operation in ("read", "write", "feedback"):
            self.store_errors.labels(operation)
        for source in ("model", "store", "template"):
            self.explanations.labels(source)
        for reason in ("queue_full", "deadline", "client_gone"):
            self.refused.labels(reason)

    def expose(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
