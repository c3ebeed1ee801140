"""The contract of a text encoder, and of what joins concurrent callers in front of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from skerry.inference.base import EngineInfo, Float32

Int64 = NDArray[np.int64]


@dataclass(slots=True)
class TokenBatch:
    """Texts of one engine call, padded together.

    `ids` and `mask` are int64 (n, length): the mask is 1 for a token and 0 for padding.
    """

    ids: Int64
    mask: Int64


@dataclass(slots=True)
class EncoderOutput:
    """`values` is float32 (n, width): embeddings or logits; `elapsed_s` the engine's own time."""

    values: Float32
    elapsed_s: float


class Encoder(Protocol):
    """A loaded text model: tokens in, one vector a text out.

    `run` is thread-safe, blocks, and releases the GIL. A text gives the same values alone and
    padded beside others, to 1e-3.
    """

    info: EngineInfo
    width: int
    """Numbers a text: the embedding's size, or the count of labels."""
    streams: int
    """Calls to `run` that make progress side by side."""

    def run(self, batch: TokenBatch) -> EncoderOutput:
        """Run one padded batch; ModelUnavailable when the engine fails."""

    def close(self) -> None:
        """Free the model."""


@dataclass(slots=True)
class Encoded:
    """One caller's texts in the order given: values float32 (n, width), and its times."""

    values: Float32
    queue_s: float
    inference_s: float


class TextSubmitter(Protocol):
    """Admits texts to an encoder: bounded, joined by length, with a deadline, drained on close."""

    encoder: Encoder

    async def submit(self, texts: Sequence[Sequence[int]], *, deadline: float) -> Encoded:
        """Run texts given as token ids before `deadline` (`loop.time()` seconds).

        Raises Overloaded when too many tokens wait already, DeadlineExceeded.
        """

    async def close(self) -> None:
        """Refuse new work, finish what was admitted."""
