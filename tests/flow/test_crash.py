"""The crash proof, run short; `tests/proofs/README.md` says how to run it long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROOFS = Path(__file__).resolve().parent.parent / "proofs"


def test_killed_amid_writes_the_node_keeps_what_it_acknowledged() -> None:
    done = subprocess.run(
        [sys.executable, PROOFS / "crash.py", "--rounds", "3"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"violations": 0' in done.stdout
