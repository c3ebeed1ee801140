"""The contract of an engine, and of what joins concurrent callers in front of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from skerry.errors import SkerryError

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
    """Items that one call gains from joining; 1 where it gains nothing."""

    def run(self, batch: Float32) -> EngineOutput:
        """Run float32 (n, 3, size, size); ModelUnavailable when the engine fails."""

    def close(self) -> None:
        """Free the model."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """One image's features, packed (see `features.Features`), and how long its decoding took."""

    packed: bytes
    decode_s: float


@dataclass(frozen=True, slots=True)
class Extractions:
    """What became of the images of one call, in their order; `inference_s` is the engine's time."""

    outcomes: Sequence[Extracted | SkerryError]
    inference_s: float


class Runner(Protocol):
    """A loaded model that takes images from their bytes to features, away from the event loop."""

    @property
    def info(self) -> EngineInfo:
        """What runs."""

    @property
    def streams(self) -> int:
        """Calls to `run` that compute side by side."""

    @property
    def calls(self) -> int:
        """Calls to have under way: those that compute, and those at hand when one ends."""

    @property
    def max_batch(self) -> int:
        """Images that one call gains from joining; 1 where it gains nothing."""

    async def run(self, images: Sequence[bytes]) -> Extractions:
        """Decode and run them; ModelUnavailable when the engine fails or its process dies."""

    async def close(self) -> None:
        """Free the model."""


class Submitter(Protocol):
    """Admits images to a runner: bounded, with a deadline, drained on close."""

    runner: Runner

    async def submit(self, image: bytes, *, deadline: float) -> Submitted:
        """Features of one image before `deadline` (`loop.time()` seconds).

        Raises Overloaded when the queue is full, DeadlineExceeded when the time has passed,
        ImageUnreadable, PayloadTooLarge, ModelUnavailable.
        """

    async def close(self) -> None:
        """Refuse new work, finish what was admitted."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """One image's packed features and its times; `queue_s` is what was neither of the others."""

    packed: bytes
    decode_s: float
    queue_s: float
    inference_s: float
