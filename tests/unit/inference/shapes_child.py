"""Run an encoder on batches of hundreds of shapes, and print by how many MB that made it grow."""

import sys
from pathlib import Path

import numpy as np
import psutil

from skerry.inference.encoder import TokenBatch
from skerry.inference.encoders.openvino import OpenVinoEncoder
from skerry.models.store import ModelStore


def main(folder: str, name: str) -> None:
    encoder = OpenVinoEncoder(ModelStore(Path(folder)).get(name), precision="fp32")
    process = psutil.Process()
    held = []
    for count in range(1, 301):
        for length in range(2, 8):
            ids = np.ones((count, length), np.int64)
            encoder.run(TokenBatch(ids, np.ones_like(ids)))
        held.append(process.memory_info().rss / 1e6)
    print(held[-1] - held[60])


main(*sys.argv[1:])
