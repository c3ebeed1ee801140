"""Classify texts: tokens, an engine call shared with whoever else asks, calibrated answers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skerry.inference.base import EngineInfo, Float32
from skerry.inference.encoder import TextSubmitter
from skerry.media.tokens import Long, Tokens
from skerry.models.manifest import ClassifierManifest
from skerry.pipelines.stages import Stages
from skerry.pipelines.texts.windows import Reader, Windows, token_counts, weighted_means

Float64 = NDArray[np.float64]

INLINE_CHARACTERS = 4096
"""So many are tokenised in half a millisecond: less than it takes to ask a thread."""


@dataclass(slots=True)
class Classified:
    """One text's likeliest class, and of each the probability in the manifest's order.

    `scores` are the model's own, before the temperature and the softmax: of several windows their
    mean, weighted as the probabilities'. `tokens` counts those of all its windows, special tokens
    included.
    """

    label: str
    probabilities: dict[str, float]
    scores: dict[str, float]
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
        self._tokens = tokens
        self._reader = Reader(submitter, threads=threads)
        self.info: EngineInfo = self._reader.info

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
        windows = await self._reader.tokenized(
            lambda: self._tokens.windows(texts, long=long),
            inline=sum(map(len, texts)) <= INLINE_CHARACTERS,
            deadline=deadline,
            stages=stages,
        )
        logits = await self._reader.encoded(windows, deadline=deadline, stages=stages)
        chances = probabilities(logits, temperature=self.manifest.temperature)
        if len(chances) > len(windows):
            chances, logits = (weighted_means(rows, windows) for rows in (chances, logits))
        return self._named(chances, logits, windows)

    async def close(self) -> None:
        """Finish what was admitted, then free the model."""
        await self._reader.close()

    def _named(self, chances: Float64, logits: Float32, windows: Windows) -> list[Classified]:
        labels = self.manifest.labels
        return [
            Classified(
                label=labels[best],
                probabilities=dict(zip(labels, row, strict=True)),
                scores=dict(zip(labels, raw, strict=True)),
                tokens=count,
            )
            for best, row, raw, count in zip(
                chances.argmax(axis=1).tolist(),
                chances.tolist(),
                logits.tolist(),
                token_counts(windows),
                strict=True,
            )
        ]


def probabilities(logits: Float32, *, temperature: float) -> Float64:
    """Softmax float64 (n, labels) of logits (n, labels) divided by the temperature."""
    scaled = logits.astype(np.float64) / temperature
    grown = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))
