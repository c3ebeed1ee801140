"""Load one encoder in a process of its own and measure it as the parent's lines say."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from skerry.config import ModelSettings
from skerry.inference.encoder import Encoder, TokenBatch
from skerry.inference.encoder_loading import load_encoder
from skerry.metrics import Metrics
from skerry.models.store import ModelStore

FIRST_ID, LAST_ID = 1000, 20_000
"""Ordinary words in the vocabularies measured here."""


def main() -> None:
    """`_encoder_child.py MODELS NAME ENGINE PRECISION`; answers each line on stdin with one."""
    folder, name, engine, precision = sys.argv[1:]
    model = ModelStore(Path(folder)).get(name)
    settings = ModelSettings(engine=engine, precision=precision)
    encoder = load_encoder(model, settings=settings, metrics=Metrics())
    timed(encoder, texts=1, tokens=16, seconds=0.2)
    say({"precision": encoder.info.precision, "engine": encoder.info.engine})
    for line in sys.stdin:
        say(answer(encoder, json.loads(line)))


def answer(encoder: Encoder, asked: dict[str, Any]) -> dict[str, Any]:
    """`{"logits": IN, "into": OUT}` for arrays of ids, `{"memory": true}`, or a timing."""
    if "logits" in asked:
        np.save(asked["into"], logits(encoder, np.load(asked["logits"])))
        return {}
    if "memory" in asked:
        info = psutil.Process().memory_full_info()
        return {"rss_mb": info.rss / 2**20, "pss_mb": info.pss / 2**20}
    return timed(encoder, **asked)


def timed(encoder: Encoder, *, texts: int, tokens: int, seconds: float) -> dict[str, float]:
    """Median milliseconds of a call, and texts a second."""
    chance = np.random.default_rng(tokens)
    ids = chance.integers(FIRST_ID, LAST_ID, (texts, tokens), dtype=np.int64)
    batch = TokenBatch(ids, np.ones_like(ids))
    encoder.run(batch)
    took, began = [], time.perf_counter()
    while not took or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        encoder.run(batch)
        took.append(time.perf_counter() - start)
    return {"ms": 1e3 * median(took), "per_s": texts * len(took) / sum(took)}


def logits(encoder: Encoder, padded: np.ndarray) -> np.ndarray:
    """Logits of texts given as rows of ids, padded with -1."""
    lengths = (padded >= 0).sum(1)
    out = np.empty((len(padded), encoder.width), np.float32)
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), 32):
        rows = order[start : start + 32]
        ids = padded[rows, : lengths[rows].max()]
        out[rows] = encoder.run(TokenBatch(np.maximum(ids, 0), (ids >= 0).astype(np.int64))).values
    return out


def say(words: dict[str, Any]) -> None:
    """Answer the parent."""
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main()
