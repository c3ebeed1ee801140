"""Classify texts: tokens, an engine call shared with whoever else asks, calibrated answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skerry.errors import DeadlineExceeded
from skerry.inference.base import EngineInfo, Float32
from skerry.inference.encoder import TextSubmitter
from skerry.media.tokens import Long, Tokens
from skerry.models.manifest import ClassifierManifest
from skerry.pipelines.stages import Stages

Float64 = NDArray[np.float64]
Windows = list[list[list[int]]]

INLINE_CHARACTERS = 4096
"""So many are tokenised in half a millisecond: less than it takes to ask a thread."""


@dataclass(slots=True)
class Classified:
    """One text's likeliest class, and the probability of each in the manifest's order.

    `tokens` counts those of all its windows, special tokens included.
    """

    label: str
    probabilities: dict[str, float]
    tokens: int


class TextClassifier:
    """A classifier: tokenizer, and the submitter in front of its encoder.

    `threads` are where many or long texts are tokenised; none: asyncio's own.
    """

    def __init__(
        self,
        manifest: ClassifierManifest,
        submitter: TextSubmitter,
        tokens: Tokens,
        *,
        threads: Executor | None = None,
    ) -> None:
        self.manifest = manifest
        self.info: EngineInfo = submitter.encoder.info
        self._submitter = submitter
        self._tokens = tokens
        self._threads = threads

    async def classify(
        self, texts: Sequence[str], *, deadline: float, stages: Stages, long: Long = "refuse"
    ) -> list[Classified]:
        """The class of each text, in their order; `deadline` in `loop.time()` seconds.

        A text beyond the model's window is refused; with `long="split"` its probabilities are the
        mean of its windows', weighted by their tokens; with "cut" only its beginning is read.
        Raises BadRequest, ContextLengthExceeded, Overloaded, DeadlineExceeded, ModelUnavailable.
        """
        if not texts:
            return []
        with stages.measure("tokenize"):
            windows = await self._windows(texts, long=long, deadline=deadline)
        flat = [ids for of_text in windows for ids in of_text]
        encoded = await self._submitter.submit(flat, deadline=deadline)
        stages.add("queue", encoded.queue_s)
        stages.add("inference", encoded.inference_s)
        chances = probabilities(encoded.values, temperature=self.manifest.temperature)
        return self._named(_joined(chances, windows), windows)

    async def close(self) -> None:
        """Finish what was admitted, then free the model."""
        await self._submitter.close()
        self._submitter.encoder.close()

    async def _windows(self, texts: Sequence[str], *, long: Long, deadline: float) -> Windows:
        if sum(map(len, texts)) <= INLINE_CHARACTERS:
            return self._tokens.windows(texts, long=long)
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, lambda: self._tokens.windows(texts, long=long))
        try:
            async with asyncio.timeout_at(deadline):
                return await work
        except TimeoutError as error:
            raise DeadlineExceeded(
                "The texts were not tokenised within the request's deadline.",
                remedy="Send fewer or shorter texts in one call.",
            ) from error

    def _named(self, chances: Float64, windows: Windows) -> list[Classified]:
        labels = self.manifest.labels
        return [
            Classified(
                label=labels[best],
                probabilities=dict(zip(labels, row, strict=True)),
                tokens=sum(map(len, of_text)),
            )
            for best, row, of_text in zip(
                chances.argmax(axis=1).tolist(), chances.tolist(), windows, strict=True
            )
        ]


def _joined(chances: Float64, windows: Windows) -> Float64:
    """One row a text: the mean of its windows', weighted by their tokens."""
    counts = [len(of_text) for of_text in windows]
    if len(chances) == len(windows):
        return chances
    starts = np.cumsum([0, *counts[:-1]])
    weights = np.array([[len(ids)] for of_text in windows for ids in of_text], np.float64)
    totals = np.add.reduceat(weights, starts, axis=0)
    return np.asarray(np.add.reduceat(chances * weights, starts, axis=0) / totals)


def probabilities(logits: Float32, *, temperature: float) -> Float64:
    """Softmax float64 (n, labels) of logits (n, labels) divided by the temperature."""
    scaled = logits.astype(np.float64) / temperature
    grown = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))
