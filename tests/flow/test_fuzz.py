"""The fuzzing proof, run short; `tests/proofs/README.md` says how to run it long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROOFS = Path(__file__).resolve().parent.parent / "proofs"


def test_damaged_requests_get_no_5xx_no_hang_and_no_growth() -> None:
    done = subprocess.run(
        [sys.executable, PROOFS / "fuzz.py", "--requests", "400"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"failures": 0' in done.stdout
