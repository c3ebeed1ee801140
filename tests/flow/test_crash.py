"""The crash proofs, run short; `tests/proofs/README.md` says how to run it long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROOFS = Path(__file__).resolve().parent.parent / "proofs"


@pytest.mark.parametrize("proof", ["crash.py", "crash_documents.py"])
def test_killed_amid_writes_the_node_keeps_what_it_acknowledged(proof: str) -> None:
    done = subprocess.run(
        [sys.executable, PROOFS / proof, "--rounds", "3"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"violations": 0' in done.stdout
