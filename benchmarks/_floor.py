"""The floor: decode, resize and infer in a bare loop on every core, with nothing around it.

Run as a program it answers each line `SECONDS` on its input with a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, quantiles

from _load import Load
from _photos import WORK
from _processes import MODELS, Service, spawn

from skerry.backends import backend_class
from skerry.media.images import decode
from skerry.models.store import ModelStore


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which engine runs which model, in how many streams, called by how many threads.

    With `folder` each image is also written there and synced, as the least that storing it costs.
    """

    model: str
    engine: str
    precision: str
    streams: int
    threads: int
    folder: str = ""


def start_floor(recipe: Recipe, bodies: Sequence[Path], *, name: str = "floor") -> Service:
    """A floor with its engine loaded, waiting for its first turn."""
    logs = WORK / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    listed = logs / f"{name}.bodies"
    listed.write_text("\n".join(str(path) for path in bodies))
    arguments = [str(Path(__file__).resolve()), json.dumps(asdict(recipe)), str(listed)]
    service = spawn(name, arguments, log=logs / f"{name}.log")
    if service.process.stdout is None or service.process.stdout.readline() != "ready\n":
        service.stop()
        raise SystemExit(f"The floor did not start; see {logs / f'{name}.log'}")
    return service


def looping(service: Service, *, seconds: float) -> Callable[[], Load]:
    """A turn of the bare loop, told as a load whose clients are its threads."""

    def turn() -> Load:
        asked, told = service.process.stdin, service.process.stdout
        if asked is None or told is None:
            raise SystemExit("The floor has no pipes to us.")
        asked.write(f"{seconds}\n")
        asked.flush()
        return Load(**json.loads(told.readline()))

    return turn


class BareLoop:
    """Threads that take the next image, work on it, and take the next."""

    def __init__(self, recipe: Recipe, bodies: list[bytes]) -> None:
        model = ModelStore(MODELS).get(recipe.model)
        self._engine = backend_class("inference", recipe.engine)(
            model, precision=recipe.precision, device="cpu", threads=recipe.streams
        )
        self._preprocess = model.manifest.preprocess
        self._threads = recipe.threads
        self._folder = Path(recipe.folder) if recipe.folder else None
        self._bodies = bodies
        self._taken = 0
        self._lock = threading.Lock()

    def turn(self, seconds: float) -> Load:
        """Work for `seconds`."""
        durations: list[float] = []
        cpu, began = time.process_time(), time.perf_counter()
        threads = [
            threading.Thread(target=self._loop, args=(began + seconds, durations))
            for _ in range(self._threads)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        spent = time.process_time() - cpu
        cuts = quantiles(durations, n=100)
        return Load(
            requests=len(durations),
            seconds=time.perf_counter() - began,
            mean_ms=1e3 * mean(durations),
            p50_ms=1e3 * cuts[49],
            p95_ms=1e3 * cuts[94],
            p99_ms=1e3 * cuts[98],
            failed=0,
            server_cpu_ms=1e3 * spent / len(durations),
        )

    def _loop(self, until: float, durations: list[float]) -> None:
        while (began := time.perf_counter()) < until:
            data = self._next()
            self._engine.run(decode(data, self._preprocess)[None])
            if self._folder is not None:
                write_synced(self._folder / uuid.uuid4().hex, data)
            durations.append(time.perf_counter() - began)

    def _next(self) -> bytes:
        with self._lock:
            self._taken += 1
            return self._bodies[self._taken % len(self._bodies)]


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def main() -> None:
    recipe = Recipe(**json.loads(sys.argv[1]))
    paths = Path(sys.argv[2]).read_text().split("\n")
    loop = BareLoop(recipe, [Path(path).read_bytes() for path in paths])
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(loop.turn(float(line)))), flush=True)


if __name__ == "__main__":
    main()
