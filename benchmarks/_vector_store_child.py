"""A vector store in a process of its own, which takes its turns by a line of JSON each."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _vector_stores import EVERY, STORES, Store
from _vectors import Data, burst, clustered

from skerry.vectors.base import Float32

LIMIT = 10
CLIENTS = 16
RECALL_QUERIES = 200
RECALL = 0.97
"""Each store's search is widened until it finds so much without a filter."""


def main() -> None:
    name, points, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory(prefix="skerry-stores-") as folder:
        asyncio.run(serve(name, clustered(points, size), Path(folder)))


async def serve(name: str, data: Data, folder: Path) -> None:
    """Fill, tell what it took, then one burst for every line that comes in."""
    truth = {every: nearest(data, every) for every in (1, *EVERY)}
    before_mb = resident_mb()
    store = STORES[name](folder)
    say(await filled(store, data, truth[1]))
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["what"] == "burst":
            say(await plain_burst(store, data, seconds=asked["seconds"]))
        elif asked["what"] == "filter":
            say(await filtered(store, data, truth, every=asked["every"]))
        else:
            say({"memory_mb": resident_mb() - before_mb})
    await store.close()


async def filled(store: Store, data: Data, truth: list[set[int]]) -> dict[str, Any]:
    """Seconds to store and to make the graph, and the recall once the search is wide enough."""
    began = time.perf_counter()
    await store.fill(data)
    stored = time.perf_counter()
    has_graph = await store.build()
    built = time.perf_counter()
    while (found := await recall(store, data, truth)) < RECALL and store.widen():
        pass
    fill_s, graph_s = stored - began, built - stored if has_graph else 0.0
    return {"fill_s": fill_s, "graph_s": graph_s, "recall": found}


async def recall(store: Store, data: Data, truth: list[set[int]], *, every: int = 1) -> float:
    """Of the true ten nearest, the part that is found."""
    found = 0
    for query, wanted in zip(data.queries, truth, strict=False):
        found += len(set(await store.search(query, LIMIT, every=every)) & wanted)
    return found / sum(map(len, truth))


async def plain_burst(store: Store, data: Data, *, seconds: float) -> dict[str, float]:
    """Several clients without a filter."""

    async def search(query: Float32) -> object:
        return await store.search(query, LIMIT)

    timing = await burst(search, data.queries, clients=CLIENTS, seconds=seconds)
    return {"per_s": timing.per_s, "p50_ms": timing.p50_ms, "p95_ms": timing.p95_ms}


async def filtered(
    store: Store, data: Data, truth: dict[int, list[set[int]]], *, every: int
) -> dict[str, float]:
    """One client whose searches keep one of every n points."""
    times = []
    for query in data.queries[:RECALL_QUERIES]:
        began = time.perf_counter()
        await store.search(query, LIMIT, every=every)
        times.append(time.perf_counter() - began)
    found = await recall(store, data, truth[every], every=every)
    p50, p95 = (float(value) * 1e3 for value in np.percentile(times, (50, 95)))
    return {"recall": found, "p50_ms": p50, "p95_ms": p95}


def nearest(data: Data, every: int) -> list[set[int]]:
    """The numbers that an exact search over one of every n points gives."""
    kept = np.arange(0, len(data.stored), every)
    scores = data.queries[:RECALL_QUERIES] @ data.stored[kept].T
    best = np.argsort(-scores, axis=1)[:, :LIMIT]
    return [set(kept[row].tolist()) for row in best]


def resident_mb() -> float:
    """Memory of this process and its children, a worker's included."""
    first = psutil.Process()
    return sum(one.memory_info().rss for one in [first, *first.children(recursive=True)]) / 1e6


def say(words: dict[str, Any]) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main()
