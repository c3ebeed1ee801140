"""Let a worker give way to everything else on the machine."""

from __future__ import annotations

import os
from pathlib import Path

NICENESS = 10
AUTOGROUP = Path("/proc/self/autogroup")


def give_way() -> None:
    """Lower this process's share of the cores, for good."""
    os.nice(NICENESS)
    # Linux may weigh whole sessions, and a worker has its own: then only that one counts.
    if AUTOGROUP.exists():
        AUTOGROUP.write_text(str(NICENESS))
