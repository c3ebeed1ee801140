"""The soak, run short; `tests/proofs/README.md` says how to run it long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROOFS = Path(__file__).resolve().parent.parent / "proofs"


@pytest.mark.timeout(400)  # On a busy machine a language model takes a minute to load.
def test_every_flow_at_once_answers_well() -> None:
    done = subprocess.run(
        [sys.executable, PROOFS / "soak.py", "--minutes", "0.3"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"violations": []' in done.stdout
    for flow in ("recognize", "images", "documents", "search", "ask", "embed", "classify", "chat"):
        assert f'"{flow}: ' in done.stdout
