"""llama.cpp's own HTTP server, as a peer: `python llama_peer.py FILE PORT SLOTS CONTEXT [PRIO]`.

PRIO `give-way`: as Skerry's own workers. Prints its URL once the model is loaded, and ends with
its standard input.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from skerry.workers.priority import give_way


def start_peer(
    file: Path, *, port: int = 0, slots: int = 2, context: int = 1024
) -> tuple[subprocess.Popen[str], str]:
    """The process and its base URL, `/v1` included."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(file), str(port), str(slots), str(context)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Beside other tests its threads would otherwise wait for each other in a loop.
        env={**os.environ, "GOMP_SPINCOUNT": "1000"},
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url, "llama.cpp's server does not start"
    return process, f"{url}/v1"


def main(file: str, port: str, slots: str, context: str, priority: str = "") -> None:
    """Serve until the standard input ends."""
    if priority == "give-way":
        give_way()
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = file
    params.port = int(port)
    params.n_parallel = int(slots)
    params.n_ctx = int(context) * int(slots)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = os.cpu_count() or 1
    params.verbosity = 0
    params.fit_params = False
    params.cache_ram_mib = 0
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
