"""Measure contenders by turns, so that whatever else the machine does weighs on all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import median

from _load import Load, Sender
from _processes import Service

SETTLE_S = 0.3


@dataclass(frozen=True, slots=True)
class Contender:
    """A service and how one turn of it is measured; all others are paused meanwhile."""

    name: str
    service: Service
    turn: Callable[[], Load]


@dataclass(frozen=True, slots=True)
class Series:
    """One contender's turns, in the order of the rounds."""

    name: str
    loads: list[Load]

    @property
    def per_s(self) -> float:
        """Median rate."""
        return median(load.per_s for load in self.loads)

    def of(self, figure: str) -> float:
        """Median of one of a load's figures, such as `p99_ms`."""
        return float(median(getattr(load, figure) for load in self.loads))

    def share_of(self, floor: Series) -> float:
        """Median over the rounds of this rate as a share of the floor's in the same round."""
        pairs = zip(self.loads, floor.loads, strict=True)
        return median(mine.per_s / theirs.per_s for mine, theirs in pairs)


def posting(service: Service, sender: Sender, *, clients: int, seconds: int) -> Callable[[], Load]:
    """A turn that sends requests and counts the service's processor time."""

    def turn() -> Load:
        before = service.cpu_s()
        load = sender.send(clients=clients, seconds=seconds)
        service.drain()
        spent = service.cpu_s() - before
        # At the end each client has a request under way, and the service finishes those too.
        return replace(load, server_cpu_ms=1e3 * spent / (load.requests + clients))

    return turn


def by_turns(contenders: Sequence[Contender], *, rounds: int) -> dict[str, Series]:
    """Each contender's turns over `rounds` rounds, the order turning by one each time.

    One turn of each goes before and is thrown away: caches and clocks warm up in it.
    """
    series = {contender.name: Series(contender.name, []) for contender in contenders}
    services = {contender.service.process.pid: contender.service for contender in contenders}
    with ExitStack() as stack:
        for service in services.values():
            service.pause()
            stack.callback(service.resume)
        for number in range(-1, rounds):
            shift = number % len(contenders)
            for contender in [*contenders[shift:], *contenders[:shift]]:
                load = _turn(contender)
                if number >= 0:
                    series[contender.name].loads.append(load)
                    print(f"  round {number + 1}: {contender.name} {load.per_s:.1f}/s", flush=True)
    return series


def _turn(contender: Contender) -> Load:
    contender.service.resume()
    try:
        time.sleep(SETTLE_S)
        return contender.turn()
    finally:
        contender.service.pause()
