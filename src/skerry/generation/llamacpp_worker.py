"""The process that holds llama.cpp."""

from __future__ import annotations

import os

from skerry.workers.child import open_channel
from skerry.workers.priority import give_way

# Of libgomp, read as it loads: how often a thread looks before it sleeps, some 20 microseconds.
# By default it looks for ever, and where anything else needs a core, each of the hundreds of
# steps of one token then waits for a time slice: 0.3 tokens/s were measured instead of 129.
SPINS = {"GOMP_SPINCOUNT": "1000"}


def main() -> None:
    """Run as a worker."""
    os.environ.update(SPINS)
    channel = open_channel()
    give_way()
    from skerry.generation.llamacpp_model import Server

    Server(channel).run()
    # Answers under way have lost their reader: nothing is worth waiting for.
    os._exit(0)


if __name__ == "__main__":
    main()
