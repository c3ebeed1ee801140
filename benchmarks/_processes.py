"""Start what is measured as processes of their own, weigh them, and let one run at a time."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from _photos import WORK

import skerry
from skerry.inference.cpu import ISA_LIMIT

MODELS = WORK / "models"
HERE = Path(__file__).resolve().parent
START_LIMIT_S = 120.0
STOP_LIMIT_S = 20.0
DRAIN_LIMIT_S = 5.0
DRAIN_STEP_S = 0.2
IDLE_SHARE = 0.15
PR_SET_CHILD_SUBREAPER = 36
TEXT_TASKS = ("EMBEDDING", "CLASSIFIER", "CHAT")


def adopt_orphans() -> None:
    """Become the parent of processes that outlive theirs, so that their time counts as ours."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def leave_nothing_behind() -> None:
    """On SIGTERM end as on any error, so that services are stopped: by itself it would not."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident and proportional memory of a service's processes, in MB."""

    rss_mb: float
    pss_mb: float


@dataclass(slots=True)
class Service:
    """A running program, with whatever processes it started."""

    name: str
    process: subprocess.Popen[str]
    url: str = ""
    paused: bool = field(default=False)

    def pause(self) -> None:
        """Stop it where it stands, so that it takes nothing from the one that is measured."""
        os.killpg(self.process.pid, signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """Let it go on."""
        os.killpg(self.process.pid, signal.SIGCONT)
        self.paused = False

    def stop(self) -> None:
        """End it and what it started, politely at first."""
        if self.paused:
            self.resume()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_LIMIT_S)
        # LitServe's workers outlive their parent; the group is ours alone.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with suppress(ChildProcessError):  # none is left
            while True:
                os.waitpid(-self.process.pid, 0)

    def processes(self) -> list[psutil.Process]:
        """The program and its descendants."""
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def memory(self) -> Memory:
        """What it holds now."""
        infos = [process.memory_full_info() for process in self.processes()]
        return Memory(
            rss_mb=sum(info.rss for info in infos) / 2**20,
            pss_mb=sum(info.pss for info in infos) / 2**20,
        )

    def cpu_s(self) -> float:
        """Processor seconds it has used, its living descendants included."""
        times = [process.cpu_times() for process in self.processes()]
        return float(sum(spent.user + spent.system for spent in times))

    def drain(self) -> None:
        """Wait until it has finished what clients that have gone had asked for."""
        deadline = time.monotonic() + DRAIN_LIMIT_S
        spent = self.cpu_s()
        while time.monotonic() < deadline:
            time.sleep(DRAIN_STEP_S)
            before, spent = spent, self.cpu_s()
            if spent - before < IDLE_SHARE * DRAIN_STEP_S:
                return

    def get(self, path: str) -> Any:
        """The JSON answer to a GET."""
        return json.loads(self.text(path))

    def text(self, path: str) -> str:
        """The answer to a GET."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            text: str = answer.read().decode()
            return text


def start_node(data: Path, *, name: str = "node", isa: str = "", **settings: str | int) -> Service:
    """A node over `data` that is ready; settings as `cache_type="off"` for SKERRY_CACHE_TYPE.

    `isa` holds down the instruction set that its engine may use.
    """
    return until_ready(spawn_node(data, name=name, isa=isa, **settings), "/readyz")


def spawn_node(data: Path, *, name: str = "node", isa: str = "", **settings: str | int) -> Service:
    """A node that has just been started, and does not answer yet."""
    port = free_port()
    environment = {f"SKERRY_{key.upper()}": str(value) for key, value in settings.items()}
    environment.setdefault("SKERRY_MODELS", str(MODELS))
    for task in TEXT_TASKS:
        # Unless a benchmark asks for one, nothing is pulled beside what is measured.
        environment.setdefault(f"SKERRY_MODELS_{task}", "off")
    if isa:
        environment[ISA_LIMIT] = isa
    command = ["-m", "skerry", "up", "--data", str(data), "--port", str(port)]
    service = spawn(name, command, environment=environment, log=data.with_suffix(".log"))
    service.url = f"http://127.0.0.1:{port}"
    return service


def spawn(
    name: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    log: Path,
    python: str = sys.executable,
) -> Service:
    """A Python with `arguments`, in a process group of its own, talking to us by pipes."""
    log.parent.mkdir(parents=True, exist_ok=True)
    adopt_orphans()
    leave_nothing_behind()
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SKERRY_")}
    with log.open("w") as errors:
        process = subprocess.Popen(
            [python, *arguments],
            env=inherited | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    return Service(name, process)


def until_ready(service: Service, path: str, *, every_s: float = 0.02) -> Service:
    """Wait until GET `path` answers 200; SystemExit with the reason when the program ends."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if service.process.poll() is not None:
            raise SystemExit(f"{service.name} ended at once with {service.process.returncode}")
        try:
            with urllib.request.urlopen(service.url + path, timeout=5) as answer:
                if answer.status == 200:
                    return service
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(every_s)
    service.stop()
    raise SystemExit(f"{service.name} was not ready within {START_LIMIT_S:.0f} s")


@contextmanager
def stopped_after(services: Sequence[Service]) -> Iterator[None]:
    """End every service on the way out, whatever happens."""
    try:
        yield
    finally:
        for service in services:
            service.stop()


def free_port() -> int:
    """A TCP port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pull_models() -> None:
    """Have the default model in the benchmarks' models folder, as this version converts it."""
    converters = [file for name in ("models", "inference") for file in _source(name)]
    newest = max(file.stat().st_mtime for file in converters)
    if MODELS.is_dir() and MODELS.stat().st_ctime < newest:
        shutil.rmtree(MODELS)
    command = [sys.executable, "-m", "skerry", "models", "pull"]
    subprocess.run(command, env=os.environ | {"SKERRY_MODELS": str(MODELS)}, check=True)


def _source(layer: str) -> list[Path]:
    folder = Path(skerry.__file__).parent / layer
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
