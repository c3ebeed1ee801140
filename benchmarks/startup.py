"""How long from start to ready, how much memory idle and loaded, how large an install?"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from _load import Sender
from _photos import TYPICAL, describe, photos
from _processes import (
    HERE,
    Memory,
    Service,
    pull_models,
    spawn_node,
    start_node,
    stopped_after,
    until_ready,
)
from _report import Bars, Cell, Claim, Report, Table, publish

POLL_EVERY_S = 0.005
READY_TARGET_S = 3.0
INSTALL_TARGET_MB = 700.0
IDLE_AFTER_S = 2.0
LOAD_SECONDS = 8
CLIENTS = 16
FIRST, AGAIN = "empty data folder", "data folder of an earlier start"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--install", action="store_true", help="also weigh a fresh install")
    arguments = parser.parse_args()
    pull_models()
    bodies = photos(TYPICAL, 40)
    with tempfile.TemporaryDirectory(prefix="skerry-startup-") as name:
        folder = Path(name)
        # The first start ever measures precisions and compiles; both results are kept.
        start_node(folder / "before").stop()
        times = {
            FIRST: [timed_start(folder / f"new-{at}") for at in range(arguments.starts)],
            AGAIN: [timed_start(folder / "before") for _ in range(arguments.starts)],
        }
        held = weigh(folder / "before", bodies)
        install_mb = weigh_install(folder) if arguments.install else None
    publish(report(times, held, install_mb, describe(bodies)))


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from starting the process until it is ready for work, and processor seconds spent."""

    seconds: float
    cpu_s: float


def timed_start(data: Path) -> Start:
    """Start a node over `data`, wait until it is ready, stop it."""
    began = time.perf_counter()
    node = spawn_node(data)
    with stopped_after([node]):
        until_ready(node, "/readyz", every_s=POLL_EVERY_S)
        return Start(time.perf_counter() - began, node.cpu_s())


def weigh(data: Path, bodies: list[Path]) -> dict[str, dict[str, Memory]]:
    """Memory of the node's processes: ready and idle, then after a burst from many clients."""
    node = start_node(data)
    with stopped_after([node]):
        time.sleep(IDLE_AFTER_S)
        idle = by_process(node)
        Sender(f"{node.url}/api/recognize", bodies, unique_every=1).send(
            clients=CLIENTS, seconds=LOAD_SECONDS
        )
        return {"idle": idle, "loaded": by_process(node)}


def by_process(node: Service) -> dict[str, Memory]:
    """The node itself, and its worker."""
    held = [process.memory_full_info() for process in node.processes()]
    first, others = held[0], held[1:]
    return {
        "node": Memory(first.rss / 2**20, first.pss / 2**20),
        "vector worker": Memory(
            sum(info.rss for info in others) / 2**20, sum(info.pss for info in others) / 2**20
        ),
    }


def weigh_install(folder: Path) -> float:
    """MB that the built wheel and what it needs take in an empty environment, without pip's own."""
    environment = folder / "venv"
    python = environment / "bin" / "python"
    wheels = folder / "wheels"
    _run(
        sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), str(HERE.parent)
    )
    _run(sys.executable, "-m", "venv", str(environment))
    empty = size_mb(environment)
    wheel = next(wheels.glob("skerry-*.whl"))
    _run(str(python), "-m", "pip", "install", "-q", str(wheel))
    return size_mb(environment) - empty


def size_mb(folder: Path) -> float:
    """Disk that a folder's files take."""
    done = subprocess.run(["du", "-sk", str(folder)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0]) / 1024


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def report(
    times: dict[str, list[Start]],
    held: dict[str, dict[str, Memory]],
    install_mb: float | None,
    bodies: str,
) -> Report:
    """The figures."""
    worst = max(median(start.seconds for start in starts) for starts in times.values())
    claims = [Claim("Start to ready, median", worst, READY_TARGET_S, "s", at_most=True)]
    if install_mb is not None:
        claims.append(Claim("Install size", install_mb, INSTALL_TARGET_MB, "MB", at_most=True))
    return Report(
        name="startup",
        title="Starting, memory, install size",
        question="How long from start to ready, and what does a node weigh?",
        claims=claims,
        tables=[_starts(times), _memory(held)],
        plots=[
            Bars(
                "Resident memory, node and vector worker",
                "MB",
                list(held),
                [sum(memory.rss_mb for memory in parts.values()) for parts in held.values()],
            )
        ],
        notes=[
            f"Ready is the first 200 from /readyz, asked every {1e3 * POLL_EVERY_S:.0f} ms, models "
            "present: model loaded, index open. The very first start on a machine, which measures "
            "precisions and compiles the model once, is not counted.",
            f"Loaded: after {LOAD_SECONDS} s of recognition from {CLIENTS} clients, no image twice "
            f"({bodies}), features cached. RSS counts memory-mapped weights; PSS shares them out.",
        ],
    )


def _starts(times: dict[str, list[Start]]) -> Table:
    rows: list[list[Cell]] = []
    for name, starts in times.items():
        taken = [start.seconds for start in starts]
        cpu_s = median(start.cpu_s for start in starts)
        rows.append([name, median(taken), min(taken), max(taken), cpu_s, len(starts)])
    columns = ["", "median, s", "least, s", "most, s", "CPU, s", "starts"]
    return Table("Start to ready", columns, rows)


def _memory(held: dict[str, dict[str, Memory]]) -> Table:
    rows: list[list[Cell]] = []
    for state, parts in held.items():
        for name, memory in parts.items():
            rows.append([f"{state}: {name}", memory.rss_mb, memory.pss_mb])
    return Table("Memory", ["", "RSS, MB", "PSS, MB"], rows)


if __name__ == "__main__":
    main()
