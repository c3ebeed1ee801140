"""What do documents cost a node over HTTP: stored by the hundred, found by many clients?"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from _collection import CATEGORIES, FIRST_TIMESTAMP, Collection, install_one_layer
from _document_truth import LIMIT, Truth, recall
from _load import Load, Sender
from _photos import WORK
from _processes import MODELS, Memory, Service, pull_models, start_node, stopped_after
from _report import Cell, Claim, Report, Table, publish
from _store import Uploads, documents

from skerry.models.store import ModelStore

BATCH, WRITERS, CLIENTS, BUILD_CLIENTS = 100, 2, 16, 2
QUERIES = 500
GRAPH_LIMIT_S = 200.0
QUIET_LOOKS = 3
"""So often, a second apart, the index is to have nothing under way."""
MIN_RECALL = 0.97
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Guide:
    """What the guide's engine (S9, 768 values) was said to do."""

    store_s: float
    p95_ms: float
    per_s: float
    memory_mb: float


GUIDE = {
    10_000: Guide(2.3, 8, 1200, 150),
    100_000: Guide(18, 12, 980, 1200),
    MILLION: Guide(192, 18, 750, 10_000),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A kind of search: what its body has beside the query, and which numbers pass its filter."""

    name: str
    extra: dict[str, object]
    every: int = 1
    remainder: int = 0
    from_half: bool = False


def kinds(points: int) -> list[Asked]:
    """The searches that are measured over so many documents."""
    half = {"category": "category 3", "min_date": FIRST_TIMESTAMP + points // 2}
    by_tag = [
        Asked(f"metadata, {100 / every:g}%", _metadata(every), every=every)
        for every in (2, 10, 100, 1000)
    ]
    return [
        Asked("dense", {}),
        Asked("category and min_date, 5%", half, CATEGORIES, 3, from_half=True),
        *by_tag,
    ]


def _metadata(every: int) -> dict[str, object]:
    return {"filter": {"must": [{"key": f"metadata.every{every}", "match": {"value": 0}}]}}


@dataclass(slots=True)
class Size:
    """What was measured with so many documents in the node; `store_s` and `ready_s` since it was
    empty. `building` are the bursts sent while the graph was made."""

    points: int
    store_s: float
    ready_s: float
    indexed: int
    building: list[Load]
    before: Memory
    after: Memory
    loads: dict[str, Load] = field(default_factory=dict)
    alone: dict[str, Load] = field(default_factory=dict)
    recalls: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Bench:
    """A node that grows, and what is asked of it."""

    node: Service
    data: Path
    collection: Collection
    queries: list[str]
    seconds: int

    def grown(self, start: int, stop: int, *, spent_s: float) -> Size:
        """Store up to `stop` documents, wait for the graph among searches, then measure all."""
        began = time.perf_counter()
        batches = self.collection.batches(start, stop, size=BATCH)
        Uploads(self.node.url, documents(batches)).run(clients=WRITERS)
        store_s = spent_s + time.perf_counter() - began
        building, indexed = self.until_built()
        ready_s = spent_s + time.perf_counter() - began
        print(f"  {stop:,} stored in {store_s:.1f} s, built after {ready_s:.1f} s", flush=True)
        memory = self.node.memory()
        size = Size(stop, store_s, ready_s, indexed, building, memory, memory)
        self.search(size)
        size.after = self.node.memory()
        return size

    def until_built(self) -> tuple[list[Load], int]:
        """Bursts of a few clients until no graph is built any more; the points in it."""
        sender = self.sender({"mode": "dense"})
        bursts, deadline, quiet = [], time.monotonic() + GRAPH_LIMIT_S, 0
        while True:
            bursts.append(sender.send(clients=BUILD_CLIENTS, seconds=1))
            index = self.node.get("/api/status")["documents"]["index"]
            quiet = quiet + 1 if index["state"] == "ready" else 0
            if quiet >= QUIET_LOOKS:
                return bursts, index["indexed"]
            if time.monotonic() > deadline:
                print(f"  The graph is not built after {GRAPH_LIMIT_S:.0f} s: {index}")
                return bursts, index["indexed"]

    def search(self, size: Size) -> None:
        """Each kind by many clients and by one, and its recall."""
        truth = Truth.read(self.node, self.data, self.queries)
        for kind in kinds(size.points):
            body = {"mode": "dense", **kind.extra}
            passing = truth.passing(
                every=kind.every,
                remainder=kind.remainder,
                least=size.points // 2 if kind.from_half else 0,
            )
            size.recalls[kind.name] = recall(self.node, self.queries, body, truth, passing)
            self.bursts(size, kind.name, body)
        for mode in ("hybrid", "keyword"):
            self.bursts(size, mode, {"mode": mode})

    def bursts(self, size: Size, name: str, body: dict[str, object]) -> None:
        """A warm-up, then many clients, then one."""
        sender = self.sender(body)
        sender.send(clients=CLIENTS, seconds=1)
        size.loads[name] = sender.send(clients=CLIENTS, seconds=self.seconds)
        size.alone[name] = sender.send(clients=1, seconds=self.seconds)
        print(f"  {name}: {size.loads[name].per_s:.0f}/s", flush=True)

    def sender(self, body: dict[str, object]) -> Sender:
        """Sends each query in a body like this."""
        paths = []
        for number, query in enumerate(self.queries):
            path = self.data.parent / f"query-{number}.json"
            path.write_bytes(msgspec.json.encode({"query": query, "limit": LIMIT, **body}))
            paths.append(path)
        url = f"{self.node.url}/api/search"
        return Sender(url, paths, content_type="application/json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--width", type=int, default=384, help="values of a vector")
    parser.add_argument("--seconds", type=int, default=3, help="of one burst")
    parser.add_argument("--short", action="store_true", help="the smaller number alone")
    arguments = parser.parse_args()
    if arguments.short:
        arguments.points, arguments.seconds = arguments.points[:1], 1
    pull_models()
    collection = Collection()
    model = install_one_layer(ModelStore(MODELS), collection, hidden=arguments.width)
    with tempfile.TemporaryDirectory(prefix="documents-", dir=WORK) as name:
        data = Path(name) / "data"
        node = start_node(data, models_embedding=model)
        with stopped_after([node]):
            empty = node.memory()
            bench = Bench(node, data, collection, collection.queries(QUERIES), arguments.seconds)
            sizes: list[Size] = []
            for points in sorted(arguments.points):
                start, spent_s = (sizes[-1].points, sizes[-1].store_s) if sizes else (0, 0.0)
                sizes.append(bench.grown(start, points, spent_s=spent_s))
    publish(report(sizes, empty, width=arguments.width))


def report(sizes: Sequence[Size], empty: Memory, *, width: int) -> Report:
    """The guide's table first, then each kind of search."""
    worst = min(found for size in sizes for found in size.recalls.values())
    return Report(
        name=f"documents_http_{width}",
        title=f"Documents over HTTP, vectors of {width} values",
        question="What do documents cost a node: stored by the hundred, found by many clients?",
        claims=[
            Claim("Recall@10 over HTTP, the worst of all sizes and filters", worst, MIN_RECALL),
            *_claims(sizes[-1]),
        ],
        tables=[_guide_table(sizes), _building(sizes), _memory(sizes, empty),
                *[_searches(size) for size in sizes]],
        notes=[
            "The node embeds with a random model of one narrow layer, which leaves its own cost: "
            f"HTTP, cutting, rows and terms in synced transactions, log, index. {BATCH} documents "
            f"of 20 words a request, {WRITERS} writers; {QUERIES} queries of 6 words by turns.",
            "The load generator runs on the same cores and takes its share of them.",
            "Recall is held against an exact search over the vectors in the node's database.",
            "The guide's figures are for 768 values on a machine it does not name. What stands "
            "for 1,000,000 is extrapolated, never measured: seconds and memory by the growth from "
            "the smaller to the larger collection, the time of a search by its growth over a "
            "tenfold number.",
        ],
    )  # fmt: skip


def _claims(size: Size) -> list[Claim]:
    guide = GUIDE.get(size.points)
    if guide is None:
        return []
    dense = size.loads["dense"]
    return [
        Claim(f"Seconds to store {size.points:,}, beside the guide's", size.store_s,
              guide.store_s, "s", at_most=True),
        Claim(f"P95 of a dense search, {size.points:,}", dense.p95_ms, guide.p95_ms, "ms",
              at_most=True),
        Claim(f"Dense searches a second, {size.points:,}", dense.per_s, guide.per_s),
        Claim(f"Memory of node and workers, {size.points:,}", size.after.pss_mb, guide.memory_mb,
              "MB", at_most=True),
    ]  # fmt: skip


def _guide_table(sizes: Sequence[Size]) -> Table:
    rows: list[list[Cell]] = []
    for size in sizes:
        dense = size.loads["dense"]
        rows.append([f"Skerry, {size.points:,}", size.store_s, size.ready_s, dense.p95_ms,
                     dense.per_s, size.after.pss_mb])  # fmt: skip
    if len(sizes) > 1 and sizes[-1].points < MILLION:
        rows.append(_extrapolated(*sizes[-2:]))
    rows += [
        [f"the guide, {points:,}", said.store_s, "", said.p95_ms, said.per_s, said.memory_mb]
        for points, said in GUIDE.items()
    ]
    columns = ["", "store, s", "with graph, s", "P95 ms", "searches/s", "memory, MB"]
    return Table("The guide's table: dense search, 16 clients", columns, rows)


def _extrapolated(small: Size, large: Size) -> list[Cell]:
    steps = (MILLION - large.points) / (large.points - small.points)

    def linear(before: float, after: float) -> float:
        return after + steps * (after - before)

    def by_decade(before: float, after: float) -> float:
        return after + max(0.0, after - before)

    first, second = small.loads["dense"], large.loads["dense"]
    return [
        f"Skerry, {MILLION:,} extrapolated",
        linear(small.store_s, large.store_s),
        linear(small.ready_s, large.ready_s),
        by_decade(first.p95_ms, second.p95_ms),
        1 / by_decade(1 / first.per_s, 1 / second.per_s),
        linear(small.after.pss_mb, large.after.pss_mb),
    ]


def _building(sizes: Sequence[Size]) -> Table:
    rows: list[list[Cell]] = []
    for size in sizes:
        found = sorted(size.building, key=lambda load: load.p95_ms)
        middle = found[len(found) // 2]
        rows.append([f"{size.points:,}", size.indexed, len(found), middle.per_s, middle.p95_ms,
                     found[-1].p95_ms])  # fmt: skip
    columns = ["", "in the graph after", "bursts", "searches/s", "P95 ms", "P95 ms of the worst"]
    title = f"While the graph is built: bursts of 1 s, {BUILD_CLIENTS} clients"
    return Table(title, columns, rows)


def _memory(sizes: Sequence[Size], empty: Memory) -> Table:
    rows: list[list[Cell]] = [["empty, model not loaded yet", empty.rss_mb, empty.pss_mb]]
    for size in sizes:
        rows.append([f"{size.points:,}, before the searches", size.before.rss_mb,
                     size.before.pss_mb])  # fmt: skip
        rows.append([f"{size.points:,}, after them", size.after.rss_mb, size.after.pss_mb])
    return Table("Memory of node and workers", ["", "resident, MB", "proportional, MB"], rows)


def _searches(size: Size) -> Table:
    rows: list[list[Cell]] = [
        [name, size.recalls.get(name, ""), load.per_s, load.p50_ms, load.p95_ms,
         size.alone[name].p50_ms, size.alone[name].p95_ms]
        for name, load in size.loads.items()
    ]  # fmt: skip
    columns = ["", "recall@10", "searches/s", "P50 ms", "P95 ms", "alone P50", "alone P95"]
    return Table(f"{size.points:,} documents, {CLIENTS} clients and one alone", columns, rows)


if __name__ == "__main__":
    main()
