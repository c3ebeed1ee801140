"""Where a request's time went, stage by stage."""

from __future__ import annotations

import time

ORDER = (
    "cache", "decode", "tokenize", "queue", "inference", "store", "search", "keywords", "metadata",
    "rank", "generate",
)  # fmt: skip


class Stages:
    """Seconds spent per named stage, and since the request began."""

    __slots__ = ("seconds", "started")

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Count `seconds` more for `stage`."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def measure(self, stage: str) -> Measured:
        """Count the time of the `with` block for `stage`, errors included."""
        return Measured(self, stage)

    def ms(self, *stages: str) -> float:
        """Milliseconds of these stages together, rounded to microseconds."""
        return _ms(sum(self.seconds.get(stage, 0.0) for stage in stages))

    def total_ms(self) -> float:
        """Milliseconds since the request began."""
        return _ms(time.perf_counter() - self.started)

    def server_timing(self) -> str:
        """The `Server-Timing` header (W3C Server Timing), stages in their order, then the total."""
        seconds = self.seconds
        parts = [f"{name};dur={1e3 * seconds[name]:.3f}" for name in ORDER if name in seconds]
        return ", ".join([*parts, f"total;dur={self.total_ms()}"])


class Measured:
    """A block whose time counts for a stage: a class, as it costs a third of a generator."""

    __slots__ = ("_began", "_stage", "_stages")

    def __init__(self, stages: Stages, stage: str) -> None:
        self._stages = stages
        self._stage = stage

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._stages.add(self._stage, time.perf_counter() - self._began)


def _ms(seconds: float) -> float:
    # As round(1e3 * seconds, 3), which goes by way of text and takes thrice as long.
    return round(1e6 * seconds) / 1e3
