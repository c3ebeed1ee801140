"""From images as bytes to packed features, in threads that share an engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Semaphore

import numpy as np

from skerry.errors import SkerryError
from skerry.inference.base import Engine, Extracted, Extractions, Float32
from skerry.inference.cpu import usable_cores
from skerry.inference.features import rank
from skerry.media.images import decode
from skerry.models.manifest import Preprocess


@dataclass(frozen=True, slots=True)
class Decoded:
    """A model's input, float32 (3, size, size), or why there is none; and the time it took."""

    tensor: Float32 | SkerryError
    elapsed_s: float


class Extraction:
    """Decodes, runs and ranks. `run` is thread-safe; no more calls reach the engine than it has
    streams, and those that wait for one have decoded meanwhile.

    On a CPU a call decodes its images in its own thread; where a device computes, side by side.
    """

    def __init__(self, engine: Engine, preprocess: Preprocess, *, max_pixels: int) -> None:
        self.engine = engine
        self._preprocess = preprocess
        self._max_pixels = max_pixels
        self._streams = Semaphore(engine.streams)
        on_cpu = engine.info.device == "cpu"
        self._decoders = None if on_cpu else ThreadPoolExecutor(usable_cores(), "decode")

    def run(self, images: Sequence[bytes]) -> Extractions:
        """Features of each image, or why it has none; ModelUnavailable when the engine fails."""
        decode_all = map if self._decoders is None else self._decoders.map
        decoded = list(decode_all(self._decode, images))
        tensors = [one.tensor for one in decoded if not isinstance(one.tensor, SkerryError)]
        packed, inference_s = self._infer(tensors) if tensors else ([], 0.0)
        rest = iter(packed)
        outcomes = [
            one.tensor
            if isinstance(one.tensor, SkerryError)
            else Extracted(next(rest), one.elapsed_s)
            for one in decoded
        ]
        return Extractions(outcomes, inference_s)

    def close(self) -> None:
        """Free the engine."""
        if self._decoders is not None:
            self._decoders.shutdown(wait=False)
        self.engine.close()

    def _infer(self, tensors: list[Float32]) -> tuple[list[bytes], float]:
        # Of one tensor a view does: stacking would copy it.
        batch = tensors[0][None] if len(tensors) == 1 else np.stack(tensors)
        with self._streams:
            output = self.engine.run(batch)
        rows = zip(output.logits, output.embedding, strict=True)
        packed = [rank(logits=logits, embedding=embedding).pack() for logits, embedding in rows]
        return packed, output.elapsed_s

    def _decode(self, image: bytes) -> Decoded:
        began = time.perf_counter()
        tensor: Float32 | SkerryError
        try:
            tensor = decode(image, self._preprocess, max_pixels=self._max_pixels)
        except SkerryError as error:
            tensor = error
        return Decoded(tensor, time.perf_counter() - began)
