"""The contract of an engine, and of what joins concurrent callers in front of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What runs, said in the log and in every answer."""

    model: str
    engine: str
    device: str
    precision: str
    fingerprint: str
    """Hex digest over weights, preprocessing and precision: the feature cache's key."""
    space: str
    """Vectors of one space can be compared."""


@dataclass(frozen=True, slots=True)
class EngineOutput:
    """Outputs of one batch: logits float32 (n, classes), embedding float32 (n, d), not normalised.

    `elapsed_s` is the engine's own time for the call.
    """

    logits: Float32
    embedding: Float32
    elapsed_s: float


class Engine(Protocol):
    """A loaded model. `run` is thread-safe, blocks, and releases the GIL."""

    info: EngineInfo
    streams: int
    """Calls to `run` that make progress side by side."""
    max_batch: int
    """Items that one call gains from joining; 1 where streams beat batches, as on a CPU."""

    def run(self, batch: Float32) -> EngineOutput:
        """Run float32 (n, 3, size, size); ModelUnavailable when the engine fails."""

    def close(self) -> None:
        """Free the model."""


class Submitter(Protocol):
    """Admits work to an engine: bounded, with a deadline, drained on close."""

    engine: Engine

    async def submit(self, tensor: Float32, *, deadline: float) -> Submitted:
        """Run one float32 (3, size, size) before `deadline` (`loop.time()` seconds).

        Raises Overloaded when the queue is full, DeadlineExceeded when the time has passed.
        """

    async def close(self) -> None:
        """Refuse new work, finish what was admitted."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """One item's outputs: logits float32 (classes,), embedding float32 (d,), and its times."""

    logits: Float32
    embedding: Float32
    queue_s: float
    inference_s: float
