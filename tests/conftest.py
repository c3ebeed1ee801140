"""Fixtures every test may use: the default model, and a real node in a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parent.parent
START_S = 60.0


def test_models_folder() -> Path:
    """Where tests keep pulled models between runs."""
    return Path(os.environ.get("SKERRY_TEST_MODELS", ROOT / ".cache" / "models"))


test_models_folder.__test__ = False  # type: ignore[attr-defined]


@dataclass
class RunningNode:
    """A node in a child process."""

    process: subprocess.Popen[bytes]
    url: str
    data: Path
    models: Path
    log: Path
    headers: dict[str, str] = field(default_factory=dict)

    def client(self, **kwargs: object) -> httpx.Client:
        """An HTTP client at the node."""
        return httpx.Client(
            base_url=self.url, headers=self.headers, timeout=30.0, trust_env=False, **kwargs
        )  # type: ignore[arg-type]

    def kill(self) -> None:
        """kill -9, workers included: what a power cut leaves is what was synced."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, then the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


def start_node(
    data: Path,
    *,
    models: Path,
    flags: tuple[str, ...] = (),
    environ: dict[str, str] | None = None,
    ready: bool = True,
) -> RunningNode:
    """Start `skerry up` on a free port and wait until it can be used."""
    data.mkdir(parents=True, exist_ok=True)
    log = data.parent / f"{data.name}.log"
    command = [sys.executable, "-m", "skerry", "up", "--data", str(data), "--port", "0", *flags]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SKERRY_")}
    with log.open("ab") as sink:
        offset = sink.tell()
        process = subprocess.Popen(
            command,
            stderr=sink,
            stdout=subprocess.DEVNULL,
            env={**clean, "SKERRY_MODELS": str(models), **(environ or {})},
        )
    url = _wait_for_url(process, log, offset)
    node = RunningNode(process, url, data, models, log)
    if ready:
        wait_ready(node)
    return node


def _wait_for_url(process: subprocess.Popen[bytes], log: Path, offset: int) -> str:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        text = log.read_bytes()[offset:].decode("utf-8", "replace")
        found = re.search(r"listening on (http://\S+)", text)
        if found:
            return found.group(1)
        if process.poll() is not None:
            raise AssertionError(f"The node ended with {process.returncode}:\n{text}")
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"The node did not listen within {START_S} s:\n{text}")


def wait_ready(node: RunningNode) -> None:
    """Wait until /readyz answers 200."""
    end = time.monotonic() + START_S
    answer = None
    with node.client() as client:
        while time.monotonic() < end:
            with contextlib.suppress(httpx.TransportError):
                answer = client.get("/readyz")
                if answer.status_code == 200:
                    return
            time.sleep(0.02)
    node.kill()
    text = node.log.read_text("utf-8", "replace")
    raise AssertionError(f"Not ready: {answer and answer.text}\n{text[-4000:]}")


@pytest.fixture(scope="session")
def models() -> Path:
    """A models folder with the default model; skips aloud when it cannot be pulled."""
    folder = test_models_folder()
    command = [sys.executable, "-m", "skerry", "models", "pull", "efficientnet-lite2"]
    done = subprocess.run(
        command, env={**os.environ, "SKERRY_MODELS": str(folder)}, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"The default model cannot be pulled here: {done.stderr.strip()}")
    return folder


@pytest.fixture
def new_node(models: Path, tmp_path: Path) -> Iterator[Callable[..., RunningNode]]:
    """Starts nodes of this test's own; they end with it."""
    started: list[RunningNode] = []

    def start(name: str = "data", **kwargs: object) -> RunningNode:
        node = start_node(tmp_path / name, models=models, **kwargs)  # type: ignore[arg-type]
        started.append(node)
        return node

    yield start
    for node in started:
        node.kill()


@pytest.fixture(scope="session")
def node(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """One open node for all tests that don't mind each other's images."""
    running = start_node(tmp_path_factory.mktemp("node") / "data", models=models)
    yield running
    running.kill()
