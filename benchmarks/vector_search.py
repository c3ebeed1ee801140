"""How fast and how right is the search over 100,000 vectors, and what do others suffer from it?"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import qdrant_edge as qe
import uvloop
from _report import Bars, Cell, Claim, Report, Table, publish
from _vectors import SHARES, Data, Search, Share, Timing, burst, clustered, idle_lag_p99_ms

from skerry.index.images import IMAGE_FIELDS
from skerry.vectors.base import Changes, Condition, Filter, Float32, Range
from skerry.vectors.edge import EdgeVectors
from skerry.vectors.edge_filters import to_engine
from skerry.vectors.exact import ExactVectors
from skerry.vectors.shard import ENGINE_FOLDER

CLIENTS = 16
LIMIT = 10
BATCH = 500
RECALL_QUERIES = 300
MIN_RECALL = 0.97
MAX_LAG_MS = 1.0
HALF = next(share for share in SHARES if share.every == 2)
# Twelve ranges that all hold: nothing the engine could answer from one index.
TANGLE = Filter(
    must=tuple(Condition("created_at", range=Range(gte=n, lt=2e9 + n)) for n in range(12))
)


@dataclass(frozen=True, slots=True)
class Built:
    """The index, and what it cost."""

    index: EdgeVectors
    fill_s: float
    graph_s: float
    rss_mb: float
    disk_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one burst")
    arguments = parser.parse_args()
    data = clustered(arguments.points, arguments.size)
    with tempfile.TemporaryDirectory(prefix="skerry-vectors-") as folder:
        publish(uvloop.run(measure(data, Path(folder), seconds=arguments.seconds)))


async def measure(data: Data, folder: Path, *, seconds: float) -> Report:
    """Build, ask, be hostile; then the same with the engine in this process, and exactly."""
    built = await build(data, folder)
    recalls = [await recall(built.index, data, share) for share in SHARES]
    alone = [await alone_ms(built.index, data, share) for share in SHARES]
    searches = {"Skerry: engine in a worker": worker_searches(built.index)}
    timings: dict[str, tuple[Timing, Timing]] = {}
    await both(timings, searches, data, seconds=seconds)
    await built.index.close()
    await both(
        timings,
        {"the engine in this process": raw_searches(folder / "graph")},
        data,
        seconds=seconds,
    )
    exact_ms = await numpy_ms(data, folder)
    idle_ms = await idle_lag_p99_ms()
    return report(data, built, recalls, alone, timings, exact_ms=exact_ms, idle_ms=idle_ms)


async def build(data: Data, folder: Path) -> Built:
    """Store all points, then build the graph beside them, as the index does."""
    first = EdgeVectors(EdgeVectors.Options(), folder=folder / "scanned")
    await first.open(data.spec())
    began = time.perf_counter()
    for start in range(0, len(data.stored), BATCH):
        stop = min(start + BATCH, len(data.stored))
        await first.apply(Changes(stop, data.points(start, stop), []))
    filled = time.perf_counter()
    index = await first.optimised(folder / "graph")
    graph_s = time.perf_counter() - filled
    await first.destroy()
    if index is None or index.pid is None:
        raise SystemExit("Too few points for a graph: give --points 20000 or more.")
    for query in data.queries[:200]:
        await index.search(query, limit=LIMIT)
    used = psutil.Process(index.pid).memory_full_info()
    files = [path.stat().st_blocks * 512 for path in (folder / "graph").rglob("*")]
    return Built(index, filled - began, graph_s, used.rss / 1e6, sum(files) / 1e6)


async def recall(index: EdgeVectors, data: Data, share: Share) -> float:
    """Of the true ten nearest, the part that is found."""
    found = 0
    truth = data.nearest(RECALL_QUERIES, share, limit=LIMIT)
    for query, wanted in zip(data.queries, truth, strict=False):
        matches = await index.search(query, limit=LIMIT, filter=share.filter)
        found += len({match.id for match in matches} & wanted)
    return found / sum(map(len, truth))


async def alone_ms(index: EdgeVectors, data: Data, share: Share) -> tuple[float, float]:
    """P50 and P99 of one client."""
    times = []
    for query in data.queries[:RECALL_QUERIES]:
        began = time.perf_counter()
        await index.search(query, limit=LIMIT, filter=share.filter)
        times.append(time.perf_counter() - began)
    p50, p99 = np.percentile(times, (50, 99)) * 1e3
    return float(p50), float(p99)


def worker_searches(index: EdgeVectors) -> tuple[Search, list[Search]]:
    """The search that is timed, and the hostile ones."""

    async def plain(query: Float32) -> object:
        return await index.search(query, limit=LIMIT)

    async def exact_half(query: Float32) -> object:
        return await index.search(query, limit=100, filter=HALF.filter, exact=True)

    async def tangled(query: Float32) -> object:
        return await index.search(query, limit=100, filter=TANGLE)

    return plain, [exact_half, tangled]


def raw_searches(folder: Path) -> tuple[Search, list[Search]]:
    """The same, with nothing between the event loop and the engine."""
    engine = qe.EdgeShard.load(str(folder / ENGINE_FOLDER))
    quantization = qe.QuantizationSearchParams(rescore=True, oversampling=2.0)
    quick = qe.SearchParams(hnsw_ef=EdgeVectors.Options().ef, quantization=quantization)
    filters = [
        to_engine(wanted, indexed=IMAGE_FIELDS)
        for wanted in (HALF.filter, TANGLE)
        if wanted is not None
    ]

    def ask(
        query: Float32, limit: int, params: qe.SearchParams, filter: qe.Filter | None
    ) -> object:
        nearest = qe.Query.Nearest(query.tolist())
        request = qe.QueryRequest(limit=limit, query=nearest, filter=filter, params=params)
        return [(point.id, point.score) for point in engine.query(request)]

    async def plain(query: Float32) -> object:
        return ask(query, LIMIT, quick, None)

    async def exact_half(query: Float32) -> object:
        return ask(query, 100, qe.SearchParams(exact=True), filters[0])

    async def tangled(query: Float32) -> object:
        return ask(query, 100, qe.SearchParams(exact=True), filters[1])

    return plain, [exact_half, tangled]


async def both(
    timings: dict[str, tuple[Timing, Timing]],
    searches: dict[str, tuple[Search, list[Search]]],
    data: Data,
    *,
    seconds: float,
) -> None:
    """16 clients by themselves, then with two hostile ones beside them."""
    for name, (plain, hostile) in searches.items():
        peaceful = await burst(plain, data.queries, clients=CLIENTS, seconds=seconds)
        beset = await burst(plain, data.queries, clients=CLIENTS, seconds=seconds, hostile=hostile)
        timings[name] = (peaceful, beset)


async def numpy_ms(data: Data, folder: Path) -> float:
    """P50 of the exact backend."""
    exact = ExactVectors(ExactVectors.Options(), folder=folder)
    await exact.open(data.spec())
    for start in range(0, len(data.stored), 10_000):
        stop = min(start + 10_000, len(data.stored))
        await exact.apply(Changes(stop, data.points(start, stop), []))
    times = []
    for query in data.queries[:20]:
        began = time.perf_counter()
        await exact.search(query, limit=LIMIT)
        times.append(time.perf_counter() - began)
    return float(np.median(times)) * 1e3


def report(
    data: Data,
    built: Built,
    recalls: list[float],
    alone: list[tuple[float, float]],
    timings: dict[str, tuple[Timing, Timing]],
    *,
    exact_ms: float,
    idle_ms: float,
) -> Report:
    """Claims first, then the tables."""
    count, size = data.stored.shape
    (peaceful, beset), (raw, _) = timings.values()
    return Report(
        name=f"vector_search_{size}",
        title=f"Search over {count:,} vectors of {size} values",
        question="How fast and how right is the search, and what do others suffer from it?",
        claims=[
            Claim("Recall@10, the worst of all filters", min(recalls), MIN_RECALL),
            Claim(
                "Event loop late at P99, hostile searches beside",
                beset.lag_p99_ms, MAX_LAG_MS, "ms", at_most=True,
            ),
        ],
        tables=[
            Table("One client", ("filter keeps", "recall@10", "P50 ms", "P99 ms"),
                  [[share.name, found, p50, p99]
                   for share, found, (p50, p99) in zip(SHARES, recalls, alone, strict=True)]),
            Table(f"{CLIENTS} clients",
                  ("", "searches/s", "P50 ms", "P95 ms", "P99 ms", "loop lag P50", "loop lag P99",
                   "hostile P50 ms", "hostile"),
                  [_row(name, timing, hostile) for name, pair in timings.items()
                   for timing, hostile in zip(pair, ("", " + hostile"), strict=True)]),
            Table("What it takes", ("", "value"), [
                ["fill, s", built.fill_s],
                ["graph, s (low priority)", built.graph_s],
                ["worker memory, MB", built.rss_mb],
                ["disk, MB", built.disk_mb],
                ["exact search in numpy, P50 ms", exact_ms],
                ["searches/s, worker : this process", peaceful.per_s / raw.per_s],
                ["idle event loop late at P99, ms", idle_ms],
            ]),
        ],
        plots=[Bars("Event loop late at P99", "ms",
                    [f"{name}{mark}" for name in timings for mark in ("", ", hostile")],
                    [timing.lag_p99_ms for pair in timings.values() for timing in pair])],
        notes=[
            "Hostile: one client repeats an exact search of half of all points, another a filter "
            "of twelve ranges; both ask for 100 matches.",
            f"Clusters: 500 centres, spread 0.6; filters by a tag; the graph at ef "
            f"{EdgeVectors.Options().ef}, int8 vectors rescored by the originals.",
        ],
    )  # fmt: skip


def _row(name: str, timing: Timing, mark: str) -> list[Cell]:
    return [
        f"{name}{mark}", timing.per_s, timing.p50_ms, timing.p95_ms, timing.p99_ms,
        timing.lag_p50_ms, timing.lag_p99_ms, timing.hostile_p50_ms, timing.hostile,
    ]  # fmt: skip


if __name__ == "__main__":
    main()
