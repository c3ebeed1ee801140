"""Run engines over the same images to see what each gives and how fast."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import numpy as np

from skerry.inference.base import Engine, EngineOutput, Float32
from skerry.inference.comparison import Outputs

WARM_UP_RUNS = 2
TIMED_RUNS = 12


def outputs_side_by_side(engines: Sequence[Engine], images: Iterable[Float32]) -> list[Outputs]:
    """(logits, embedding) of each engine over `images`, float32 (3, size, size) each.

    Every image goes through all engines and is dropped, so that memory does not grow with them.
    """
    runs: list[list[EngineOutput]] = [[] for _ in engines]
    for image in images:
        for engine, own in zip(engines, runs, strict=True):
            own.append(engine.run(image[None]))
    return [_joined(own) for own in runs]


def latencies_ms(engines: Sequence[Engine], image: Float32) -> list[float]:
    """Time of one image (3, size, size) alone on each engine, in milliseconds.

    The engines take turns, and the fastest turn of each counts: what else the cores did in the
    others says nothing of the engine.
    """
    batch = image[None]
    for engine in engines:
        for _ in range(WARM_UP_RUNS):
            engine.run(batch)
    turns = [[_timed(engine, batch) for engine in engines] for _ in range(TIMED_RUNS)]
    return [1e3 * min(times) for times in zip(*turns, strict=True)]


def _timed(engine: Engine, batch: Float32) -> float:
    started = time.perf_counter()
    engine.run(batch)
    return time.perf_counter() - started


def _joined(runs: list[EngineOutput]) -> Outputs:
    logits = np.concatenate([run.logits for run in runs])
    return logits, np.concatenate([run.embedding for run in runs])
