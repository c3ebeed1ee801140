"""A real node in a process of its own, for tests and for the programs in proofs/."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

START_S = 60.0

NO_TEXT_MODELS = {
    "SKERRY_MODELS_EMBEDDING": "off",
    "SKERRY_MODELS_CLASSIFIER": "off",
    "SKERRY_MODELS_CHAT": "off",
}
"""What tests of images start nodes with: nothing to pull but the image model."""


ROOT = Path(__file__).parent.parent


def pulled_models() -> Path:
    """Where tests keep pulled models between runs."""
    return Path(os.environ.get("SKERRY_TEST_MODELS", ROOT / ".cache" / "models"))


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
            env={**clean, "SKERRY_MODELS": str(models), **NO_TEXT_MODELS, **(environ or {})},
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


def wait_for_texts(node: RunningNode) -> None:
    """Until the default text models are on the machine; fails with what it still waits for."""
    end = time.monotonic() + START_S
    while True:
        with node.client() as client:
            part = client.get("/readyz").json()["parts"]["texts"]
        if part["state"] == "ready":
            return
        if part["state"] == "failed" or time.monotonic() > end:
            raise AssertionError(f"Text models are {part['state']}: {part['reason']}")
        time.sleep(0.1)
