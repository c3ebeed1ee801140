"""Every metric of the node, each named once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The node's metrics on a registry of their own; `render` gives Prometheus text.

    Children of labelled metrics are looked up once by whoever counts often.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        # The guide's two names stand without a prefix.
        self.requests = self._counter(
            "requests_total", "HTTP requests answered.", ["route", "method", "status"]
        )
        self.inference_duration = self._histogram(
            "inference_duration_seconds", "Engine calls, without decoding or waiting.", ["model"]
        )
        self.request_duration = self._histogram(
            "skerry_request_duration_seconds", "HTTP requests, body read included.", ["route"]
        )
        self.errors = self._counter(
            "skerry_errors_total", "Errors answered, by code.", ["route", "code"]
        )
        self.stage_duration = self._histogram(
            "skerry_stage_duration_seconds", "Stages of a request.", ["stage"]
        )
        self.queue_depth = self._gauge(
            "skerry_queue_depth", "Requests admitted to an engine and not finished.", ["model"]
        )
        self.batch_size = self._histogram(
            "skerry_batch_size", "Items joined in one engine call.", ["model"], SIZES
        )
        self.refused = self._counter(
            "skerry_refused_total", "Work refused before it began.", ["model", "reason"]
        )
        self.cache_lookups = self._counter(
            "skerry_cache_lookups_total", "Feature cache: hit, miss, or shared with another.",
            ["result"],
        )  # fmt: skip
        self.index_lag = self._gauge(
            "skerry_index_lag_changes", "Changes the vector index has not applied yet.", ["space"]
        )
        self.index_size = self._gauge(
            "skerry_index_points", "Points in the vector index.", ["space"]
        )
        self.worker_restarts = self._counter(
            "skerry_worker_restarts_total", "Worker processes started anew.", ["worker"]
        )
        self.model_load = self._gauge(
            "skerry_model_load_seconds", "Time to load a model.", ["model", "precision"]
        )
        self.model_memory = self._gauge(
            "skerry_model_memory_bytes", "Counted for a model in the memory limit.", ["model"]
        )
        self.model_unloads = self._counter(
            "skerry_model_unloads_total",
            "Models unloaded: unused for long, or their memory was needed.",
            ["model", "reason"],
        )
        self.generated_tokens = self._counter(
            "skerry_generated_tokens_total", "Tokens that language models wrote.", ["model"]
        )
        self.prompt_tokens = self._counter(
            "skerry_prompt_tokens_total", "Tokens of prompts answered.", ["model"]
        )
        self.time_to_first_token = self._histogram(
            "skerry_time_to_first_token_seconds",
            "From a request for text to its first piece, the wait for a slot included.",
            ["model"],
        )
        self.images = self._gauge("skerry_images", "Images stored.", [])
        self.documents = self._gauge("skerry_documents", "Documents stored.", [])
        self.chunks = self._gauge("skerry_chunks", "Chunks of the documents stored.", [])
        self.document_changes = self._counter(
            "skerry_document_changes_total",
            "Documents sent: created, updated, unchanged, or failed with the error's code.",
            ["status", "code"],
        )
        self.loop_lag = self._gauge(
            "skerry_event_loop_lag_seconds", "How late the event loop woke, latest reading.", []
        )

    def render(self) -> bytes:
        """All metrics in the Prometheus text format 0.0.4."""
        return generate_latest(self.registry)

    def described(self) -> list[tuple[str, str, str, tuple[str, ...]]]:
        """(name, type, help, labels) of each metric, for the reference."""
        own = [value for value in vars(self).values() if isinstance(value, MetricWrapperBase)]
        return [_described(metric) for metric in own]

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: list[str]) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: list[str], buckets: tuple[float, ...] = FAST
    ) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)


def _described(metric: MetricWrapperBase) -> tuple[str, str, str, tuple[str, ...]]:
    suffix = "_total" if isinstance(metric, Counter) else ""
    kind = type(metric).__name__.lower()
    return metric._name + suffix, kind, metric._documentation, tuple(metric._labelnames)


class Traffic:
    """Requests of the last minute, for the live view."""

    WINDOW_S = 60.0
    MAX_KEPT = 20_000

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: deque[tuple[float, float, bool]] = deque(maxlen=self.MAX_KEPT)

    def note(self, elapsed_s: float, *, failed: bool) -> None:
        """Count one answered request."""
        self._recent.append((self._clock(), elapsed_s, failed))

    def summary(self) -> TrafficSummary:
        """Rates and percentiles over the window."""
        since = self._clock() - self.WINDOW_S
        recent = [entry for entry in self._recent if entry[0] >= since]
        times = sorted(entry[1] for entry in recent)
        # When the ring is full, it reaches back less than a minute.
        full = len(recent) == self.MAX_KEPT
        span_s = self._clock() - recent[0][0] if full else self.WINDOW_S
        return TrafficSummary(
            window_s=round(span_s, 1),
            requests=len(recent),
            requests_per_s=round(len(recent) / span_s, 2),
            errors_per_s=round(sum(entry[2] for entry in recent) / span_s, 2),
            p50_ms=percentile_ms(times, 0.50),
            p95_ms=percentile_ms(times, 0.95),
        )


@dataclass(frozen=True, slots=True)
class TrafficSummary:
    """Requests that ran a model or a search, over the last `window_s`."""

    window_s: float
    requests: int
    requests_per_s: float
    errors_per_s: float
    p50_ms: float
    p95_ms: float


def percentile_ms(ordered_s: Sequence[float], share: float) -> float:
    """Nearest-rank percentile of ascending seconds, in milliseconds; 0 when there are none."""
    if not ordered_s:
        return 0.0
    return round(1e3 * ordered_s[min(len(ordered_s) - 1, int(share * len(ordered_s)))], 3)
