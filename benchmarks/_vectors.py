"""Vectors in clusters with tags of known share, the oracle's answers, and clients that search."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from skerry.index.images import IMAGE_FIELDS, image_filter, image_payload
from skerry.vectors.base import CollectionSpec, Filter, Float32, Point

CLUSTERS = 500
SPREAD = 0.6
QUERIES = 2000
BLOCK = 5000

Search = Callable[[Float32], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Share:
    """A filter that keeps every n-th point."""

    name: str
    every: int

    @property
    def filter(self) -> Filter | None:
        """The image API's filter; None keeps all."""
        return None if self.every == 1 else image_filter(tags={f"every{self.every}": 0})


SHARES = (
    Share("no filter", 1),
    Share("50%", 2),
    Share("10%", 10),
    Share("1%", 100),
    Share("0.1%", 1000),
)


@dataclass(slots=True)
class Data:
    """float32 (n, size) to store and (QUERIES, size) to ask for, of length 1."""

    stored: Float32
    queries: Float32
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = self.stored.shape[1]

    def spec(self) -> CollectionSpec:
        """The collection they go into, with the fields of images."""
        return CollectionSpec("images", "benchmark", self.size, fields=IMAGE_FIELDS)

    def points(self, start: int, stop: int) -> list[Point]:
        """Points with payloads as images have."""
        return [
            Point(number, self.stored[number], _payload(number)) for number in range(start, stop)
        ]

    def nearest(self, queries: int, share: Share, *, limit: int) -> list[set[int]]:
        """The ids an exact search gives for the first `queries` queries."""
        kept = np.arange(0, len(self.stored), share.every)
        scores = self.queries[:queries] @ self.stored[kept].T
        best = np.argpartition(-scores, min(limit, len(kept) - 1), axis=1)[:, :limit]
        return [set(kept[row].tolist()) for row in best]


def clustered(points: int, size: int) -> Data:
    """Points around 500 centres: neither uniform, which no model's features are, nor trivial."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((CLUSTERS, size), dtype=np.float32)

    def draw(count: int) -> Float32:
        drawn = centres[random.integers(0, CLUSTERS, count)]
        for start in range(0, count, BLOCK):
            part = drawn[start : start + BLOCK]
            part += SPREAD * random.standard_normal(part.shape, dtype=np.float32)
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        return drawn

    return Data(draw(points), draw(QUERIES))


def _payload(number: int) -> dict[str, object]:
    tags: dict[str, str | int | float | bool] = {
        f"every{share.every}": number % share.every for share in SHARES[1:]
    }
    return image_payload(
        uploaded_by=f"till-{number % 7}",
        created_at=1_700_000_000 + number,
        labels=[f"label {number % 1000}"],
        tags=tags,
    )


@dataclass(frozen=True, slots=True)
class Timing:
    """What the clients of one burst saw, in milliseconds, and how late the event loop was."""

    per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    lag_p50_ms: float
    lag_p99_ms: float
    hostile_p50_ms: float
    hostile: int


async def burst(
    search: Search,
    queries: Float32,
    *,
    clients: int,
    seconds: float,
    hostile: Sequence[Search] = (),
) -> Timing:
    """`clients` ask one after the other for `seconds`; each hostile search repeats beside them."""
    until = time.perf_counter() + seconds
    times: list[float] = []
    lags: list[float] = []
    hostile_times: list[float] = []
    turns = [repeat(search, queries, start, clients, until, times) for start in range(clients)]
    turns += [repeat(bad, queries, 0, 1, until, hostile_times) for bad in hostile]
    began = time.perf_counter()
    await asyncio.gather(*turns, _watch_loop(until, lags))
    elapsed = time.perf_counter() - began
    p50, p95, p99 = np.percentile(times, (50, 95, 99)) * 1e3
    lag_p50, lag_p99 = np.percentile(lags, (50, 99)) * 1e3
    return Timing(
        len(times) / elapsed,
        *(float(value) for value in (p50, p95, p99, lag_p50, lag_p99)),
        hostile_p50_ms=float(np.median(hostile_times)) * 1e3 if hostile_times else 0.0,
        hostile=len(hostile_times),
    )


async def repeat(
    search: Search, queries: Float32, start: int, step: int, until: float, times: list[float]
) -> None:
    """One client: the next search begins when the last is answered."""
    at = start
    while (began := time.perf_counter()) < until:
        await search(queries[at % len(queries)])
        times.append(time.perf_counter() - began)
        at += step
        # An engine in this process never waits by itself, and would let nobody else run.
        await asyncio.sleep(0)


async def idle_lag_p99_ms(*, seconds: float = 1.0) -> float:
    """How late the event loop wakes with nothing to do: what this machine adds by itself."""
    lags: list[float] = []
    await _watch_loop(time.perf_counter() + seconds, lags)
    return float(np.percentile(lags, 99)) * 1e3


async def _watch_loop(until: float, lags: list[float]) -> None:
    while (began := time.perf_counter()) < until:
        await asyncio.sleep(0.001)
        lags.append(max(0.0, time.perf_counter() - began - 0.001))
