"""The command `skerry`, and `python -m skerry`."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from skerry.cli.main import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # Ctrl-C while modules were still being imported
        code = INTERRUPTED
    if code == INTERRUPTED:
        # Whoever pressed Ctrl-C does not wait for uploads that threads have under way.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
