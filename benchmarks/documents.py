"""How fast are documents with given vectors stored and found, beside Chroma and LanceDB?"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from _photos import WORK
from _processes import HERE, Service, spawn
from _report import Cell, Claim, Report, Table, publish
from _vector_stores import EVERY, PACKAGES, STORES

OURS = "Skerry"
SIZES = (10_000, 100_000)
MIN_RECALL = 0.97
MIN_RATIO = 5.0


@dataclass(slots=True)
class Contender:
    """A store in a process of its own, and what it told."""

    name: str
    points: int
    service: Service
    told: dict[str, float]
    turns: list[dict[str, float]] = field(default_factory=list)
    filters: dict[int, dict[str, float]] = field(default_factory=dict)

    def ask(self, **words: Any) -> dict[str, float]:
        """Its answer to one line."""
        assert self.service.process.stdin is not None
        self.service.process.stdin.write(json.dumps(words) + "\n")
        self.service.process.stdin.flush()
        return heard(self.service)

    def of(self, figure: str) -> float:
        """The median over its turns."""
        return median(turn[figure] for turn in self.turns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=SIZES)
    parser.add_argument("--width", type=int, default=384, help="values of a vector")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one turn")
    parser.add_argument("--short", action="store_true", help="the smaller number of points alone")
    arguments = parser.parse_args()
    if arguments.short:
        arguments.points, arguments.rounds, arguments.seconds = SIZES[:1], 2, 1.5
    for points in arguments.points:
        measured = measure(
            points, arguments.width, rounds=arguments.rounds, seconds=arguments.seconds
        )
        publish(report(measured, width=arguments.width))


def measure(points: int, width: int, *, rounds: int, seconds: float) -> list[Contender]:
    """Everyone stores as many points, one after the other; then they search by turns."""
    with ExitStack() as stack:
        contenders = [started(name, points, width, stack) for name in present()]
        for _ in range(rounds):
            for contender in contenders:
                contender.turns.append(contender.ask(what="burst", seconds=seconds))
        for contender in contenders:
            for every in EVERY:
                contender.filters[every] = contender.ask(what="filter", every=every)
            contender.told |= contender.ask(what="memory")
    return contenders


def present() -> list[str]:
    """Those whose package is installed; the others are named aloud."""
    found = []
    for name in STORES:
        package = PACKAGES.get(name, "skerry")
        if importlib.util.find_spec(package) is None:
            print(f"{package} is not installed: {name} is left out.")
        else:
            found.append(name)
    return found


def started(name: str, points: int, width: int, stack: ExitStack) -> Contender:
    """A store that holds all points; it ends with the stack."""
    program = HERE / "_vector_store_child.py"
    log = WORK / "logs" / f"store-{name.lower()}.log"
    service = spawn(name, [str(program), name, str(points), str(width)], log=log)
    stack.callback(service.stop)
    contender = Contender(name, points, service, heard(service))
    told = contender.told
    print(f"  {name}: {points:,} in {told['fill_s'] + told['graph_s']:.1f} s", flush=True)
    return contender


def heard(service: Service) -> dict[str, float]:
    """One line of a child; what libraries print is passed over."""
    assert service.process.stdout is not None
    for line in service.process.stdout:
        if line.startswith("{"):
            words: dict[str, float] = json.loads(line)
            return words
    raise SystemExit(f"{service.name} ended; see its log in {WORK / 'logs'}")


def report(measured: Sequence[Contender], *, width: int) -> Report:
    """The claims, then the tables."""
    ours = next(one for one in measured if one.name == OURS)
    found = [ours.told["recall"], *(told["recall"] for told in ours.filters.values())]
    return Report(
        name=f"documents_{width}_{ours.points}",
        title=f"{ours.points:,} documents with given vectors of {width} values",
        question="How fast are they stored and found, beside Chroma and LanceDB?",
        claims=[
            Claim("Recall@10, the worst of all filters", min(found), MIN_RECALL),
            *_ratios(measured, ours, width=width),
        ],
        tables=_tables(measured),
        notes=[
            f"Vectors of {width} values in 500 clusters; every store in a process of its own, "
            "without HTTP; 16 clients in that process. Its search is widened until it finds 97% "
            "of the true ten nearest, where it has a dial for that.",
            "Storing in Skerry is a synced transaction for each hundred documents, with text, "
            "keyword terms and the log that its index follows; the others store vectors and "
            "fields alone, in the large batches they like best.",
            "Filters ask one client's searches for one of every n points by a field that nobody "
            "announced to the stores. Memory is what the process and its workers grew by.",
        ],
    )


def _ratios(contenders: Sequence[Contender], ours: Contender, *, width: int) -> list[Claim]:
    return [
        Claim(
            f"Searches a second beside {other.name}, {ours.points:,} x {width}",
            median(a["per_s"] / b["per_s"] for a, b in zip(ours.turns, other.turns, strict=True)),
            MIN_RATIO,
            "x",
        )
        for other in contenders
        if other is not ours
    ]


def _tables(contenders: Sequence[Contender]) -> list[Table]:
    found: list[list[Cell]] = [
        [
            one.name, one.told["fill_s"], one.told["graph_s"], one.told["recall"],
            one.of("per_s"), one.of("p50_ms"), one.of("p95_ms"), one.told["memory_mb"],
        ]
        for one in contenders
    ]  # fmt: skip
    filtered: list[list[Cell]] = [
        [f"{one.name}, {100 / every:g}%", told["recall"], told["p50_ms"], told["p95_ms"]]
        for one in contenders
        for every, told in one.filters.items()
    ]
    columns = ["", "store, s", "graph, s", "recall@10", "searches/s", "P50 ms", "P95 ms",
               "memory, MB"]  # fmt: skip
    return [
        Table("16 clients", columns, found),
        Table("One client, a filter that keeps",
              ["", "recall@10", "P50 ms", "P95 ms"], filtered),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
