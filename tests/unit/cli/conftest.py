"""The real command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest


class RunCli(Protocol):
    def __call__(
        self, *arguments: str, stdin: bytes = b"", **environ: str
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def cli_environ(tmp_path: Path) -> dict[str, str]:
    """The environment without the developer's own settings."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SKERRY_")}
    clean.pop("NO_COLOR", None)
    return {**clean, "SKERRY_DATA": str(tmp_path / "data")}


@pytest.fixture
def cli(tmp_path: Path, cli_environ: dict[str, str]) -> RunCli:
    """Run `skerry` in an empty folder."""

    def run(
        *arguments: str, stdin: bytes = b"", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "skerry", *arguments],
            cwd=tmp_path,
            env={**cli_environ, **environ},
            input=stdin,
            capture_output=True,
            timeout=60,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return run
