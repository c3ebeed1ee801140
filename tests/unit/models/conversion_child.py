"""Convert a folder of weights in a process of its own and print what it took in memory.

`python -m tests.unit.models.conversion_child FOLDER OUT read|copied` prints two numbers, in
bytes: by how much the memory of the process alone grew at most, and how large the weights are.
"""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path

from safetensors.numpy import load_file

from skerry.models.conversion import write_variant
from skerry.models.encoder_config import read_config
from skerry.models.encoder_weights import read_encoder_weights
from skerry.models.graphs.bert import build_embedding

EVERY_S = 0.002


def private_bytes() -> int:
    """Without pages of mapped files, which the system takes back when it needs them."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def main(folder: Path, out: Path, how: str) -> None:
    files = [*folder.glob("*.safetensors"), *folder.glob("*.bin")]
    done = threading.Event()
    peak = [private_bytes()]
    begin = peak[0]

    def watch() -> None:
        while not done.wait(EVERY_S):
            peak[0] = max(peak[0], private_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    weights = load_file(files[0]) if how == "copied" else read_encoder_weights(folder, scratch=out)
    graph = build_embedding(weights, read_config(folder).shape, pooling="mean")
    write_variant(graph.model, out, precision="fp32", mapped=graph.mapped)
    peak[0] = max(peak[0], private_bytes())
    done.set()
    watcher.join()
    print(peak[0] - begin, sum(file.stat().st_size for file in files))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
