"""What the OpenVINO encoder keeps of the shapes it has seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tiny_encoder import install_tiny_encoder

SHAPES = Path(__file__).with_name("shapes_child.py")


def test_thousands_of_shapes_leave_memory_as_it_is(tmp_path: Path) -> None:
    install_tiny_encoder(tmp_path / "tiny")
    done = subprocess.run(
        [sys.executable, SHAPES, tmp_path, "tiny"], capture_output=True, text=True, check=True
    )
    # With OpenVINO's own caches, 400 MB or more.
    assert float(done.stdout) < 60
