"""Where a request's time went, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

ORDER = ("cache", "decode", "queue", "inference", "store", "search", "metadata")


class Stages:
    """Seconds spent per named stage, and since the request began."""

    __slots__ = ("seconds", "started")

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Count `seconds` more for `stage`."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count the time of the block for `stage`, errors included."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - began)

    def ms(self, *stages: str) -> float:
        """Milliseconds of these stages together, rounded to microseconds."""
        return round(1e3 * sum(self.seconds.get(stage, 0.0) for stage in stages), 3)

    def total_ms(self) -> float:
        """Milliseconds since the request began."""
        return round(1e3 * (time.perf_counter() - self.started), 3)

    def server_timing(self) -> str:
        """The `Server-Timing` header (W3C Server Timing), stages in their order, then the total."""
        seconds = self.seconds
        parts = [f"{name};dur={1e3 * seconds[name]:.3f}" for name in ORDER if name in seconds]
        return ", ".join([*parts, f"total;dur={self.total_ms()}"])
