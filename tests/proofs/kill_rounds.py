"""Rounds of start, work, kill -9, start again and check: what the proofs of crashes share."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from running_node import RunningNode, wait_ready

CLIENTS = 6
VICTIMS = {"node": 6, "worker": 3, "start": 1}
"""What is killed, and how often of ten: the node, its vector workers, or a node that starts."""

T = TypeVar("T")


def shares(things: Sequence[T]) -> list[list[T]]:
    """The things dealt out among the clients: no two change the same one."""
    return [list(things[number::CLIENTS]) for number in range(CLIENTS)]


@dataclass
class KillProof(ABC):
    """The state of one run; a subclass says what is stored, and what must hold of it."""

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    @abstractmethod
    def start(self, *, ready: bool = True) -> RunningNode:
        """A node over the same data folder as before."""

    def wait_ready(self, node: RunningNode) -> None:
        """Wait until a node that was started without is ready for the work."""
        wait_ready(node)

    @abstractmethod
    def trim(self, node: RunningNode) -> None:
        """Delete some, so that the last round is as quick as the first."""

    @abstractmethod
    def clients(self, http: httpx.AsyncClient) -> Iterable[Coroutine[Any, Any, None]]:
        """Clients at work, each until the node is gone."""

    @abstractmethod
    def check(self, node: RunningNode, *, everything: bool) -> None:
        """Hold what the node has against what it acknowledged."""

    @abstractmethod
    def stored(self) -> int:
        """How many are stored now."""

    @abstractmethod
    def sent(self) -> int:
        """How many were ever sent."""

    def wrong(self, message: str) -> None:
        """Note a violation."""
        self.violations.append(message)
        print(f"VIOLATION: {message}", flush=True)

    def kill_workers(self, node: RunningNode) -> None:
        """kill -9 the processes that hold the vectors."""
        for child in psutil.Process(node.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "skerry.vectors.edge_worker" in child.cmdline():
                    child.send_signal(signal.SIGKILL)
                    self.counts["workers killed"] += 1

    async def load(self, node: RunningNode, *, seconds: float, victim: str) -> None:
        """Clients at work until the node has been killed after `seconds`."""
        async with httpx.AsyncClient(base_url=node.url, timeout=30, trust_env=False) as http:
            clients = [asyncio.create_task(client) for client in self.clients(http)]
            await asyncio.sleep(seconds)
            if victim == "worker":
                self.kill_workers(node)
                await asyncio.sleep(seconds)
            node.process.kill()
            await asyncio.gather(*clients)
        node.process.wait()

    def one_round(self) -> str:
        """Start, load, kill, start again, check; what was killed."""
        victim = random.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        node = self.start(ready=False)
        try:
            if victim == "start":
                time.sleep(random.uniform(0, 0.5))
                node.kill()
            else:
                self.wait_ready(node)
                self.trim(node)
                asyncio.run(self.load(node, seconds=random.uniform(0.05, 1.0), victim=victim))
            node = self.start()
            self.check(node, everything=False)
        finally:
            node.kill()
        return victim

    def run(self, rounds: int) -> None:
        """All rounds, then a look at everything there ever was."""
        for number in range(1, rounds + 1):
            began = time.monotonic()
            victim = self.one_round()
            self.counts[f"rounds: {victim} killed"] += 1
            took = time.monotonic() - began
            print(
                f"round {number}: {victim} killed, {self.stored()} stored, {took:.1f} s", flush=True
            )
            if self.violations:
                return
        node = self.start()
        try:
            self.check(node, everything=True)
        finally:
            node.kill()


def prove(kind: type[KillProof], *, things: str, rounds: int, about: str) -> int:
    """Run the proof as the command line asks; 0 when nothing was violated."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seed", type=int, default=None, help="of the choices, not of the timing")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    proof = kind(Path(tempfile.mkdtemp(prefix=f"skerry-crash-{things}-")))
    began = time.monotonic()
    proof.run(arguments.rounds)
    report = {
        "rounds": arguments.rounds,
        "seconds": round(time.monotonic() - began, 1),
        f"{things} ever sent": proof.sent(),
        "violations": len(proof.violations),
        **dict(sorted(proof.counts.items())),
    }
    print(json.dumps(report, indent=1))
    if proof.violations:
        print(f"The data folder is kept: {proof.folder}", file=sys.stderr)
        return 1
    shutil.rmtree(proof.folder)
    return 0
