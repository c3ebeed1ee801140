"""Turn texts into vectors that can be compared."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from skerry.errors import BadRequest, DeadlineExceeded
from skerry.inference.base import EngineInfo, Float32
from skerry.inference.encoder import TextSubmitter
from skerry.media.tokens import Long as Long
from skerry.media.tokens import Tokens
from skerry.models.manifest import EmbeddingManifest
from skerry.pipelines.stages import Stages

Text = str | Sequence[int]
"""A text, or the token ids of one."""

INLINE_SIZE = 1000
"""So many letters take half a millisecond: less than the wait for a thread that also computes."""


@dataclass(slots=True)
class Embeddings:
    """One vector a text: float32 (n, d); `tokens` counts each text's, special ones included."""

    vectors: Float32
    tokens: list[int]


class Embedder:
    """An embedding model: tokenizer, and the submitter in front of its encoder.

    `threads` are where texts are tokenised; none: asyncio's own.
    """

    def __init__(
        self,
        manifest: EmbeddingManifest,
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

    async def embed(
        self,
        texts: Sequence[Text],
        *,
        deadline: float,
        stages: Stages,
        long: Long = "refuse",
        use: str = "",
    ) -> Embeddings:
        """Vectors of `texts` in their order; `deadline` in `loop.time()` seconds.

        `use` names one of the manifest's prefixes, put before each text. A text beyond the
        window is refused; with `long="split"` its vector is the mean of its windows', weighted by
        their tokens; with "cut" only its beginning is read. Raises BadRequest,
        ContextLengthExceeded, Overloaded, DeadlineExceeded, ModelUnavailable.
        """
        prefix = self._prefix(use)
        with stages.measure("tokenize"):
            windows = await self._windows(texts, prefix=prefix, long=long, deadline=deadline)
        flat = [ids for of_text in windows for ids in of_text]
        encoded = await self._submitter.submit(flat, deadline=deadline)
        stages.add("queue", encoded.queue_s)
        stages.add("inference", encoded.inference_s)
        tokens = [sum(map(len, of_text)) for of_text in windows]
        if len(flat) == len(windows):
            return Embeddings(encoded.values, tokens)
        vectors = _joined(encoded.values, windows, normalise=self.manifest.normalized)
        return Embeddings(vectors, tokens)

    async def close(self) -> None:
        """Finish what was admitted, then free the model."""
        await self._submitter.close()
        self._submitter.encoder.close()

    def _prefix(self, use: str) -> str:
        prefixes = self.manifest.prefixes
        if use and use not in prefixes:
            known = ", ".join(sorted(prefixes)) or "none"
            raise BadRequest(
                f"'{self.manifest.name}' has no prefix for the use '{use}'.",
                remedy=f"Its uses: {known}.",
            )
        return prefixes[use] if use else ""

    async def _windows(
        self, texts: Sequence[Text], *, prefix: str, long: Long, deadline: float
    ) -> list[list[list[int]]]:
        if _size(texts) <= INLINE_SIZE:
            return self._tokenize(texts, prefix, long)
        work = asyncio.get_running_loop().run_in_executor(
            self._threads, self._tokenize, texts, prefix, long
        )
        try:
            async with asyncio.timeout_at(deadline):
                return await work
        except TimeoutError as error:
            raise DeadlineExceeded(
                "The texts were not tokenised within the request's deadline.",
                remedy="Send fewer or shorter texts in one call.",
            ) from error

    def _tokenize(self, texts: Sequence[Text], prefix: str, long: Long) -> list[list[list[int]]]:
        written = [prefix + text for text in texts if isinstance(text, str)]
        if len(written) == len(texts):
            return self._tokens.windows(written, long=long)
        if written:
            raise BadRequest("Send either texts or token arrays in one call.")
        if prefix:
            raise BadRequest("A use puts words before a text, and token arrays have no words.")
        return [
            self._tokens.given(ids, number=number, long=long)
            for number, ids in enumerate(texts)
            if not isinstance(ids, str)
        ]


def _size(texts: Sequence[Text]) -> int:
    """Letters and tokens to look through."""
    return sum(map(len, texts)) + len(texts)


def _joined(
    values: Float32, windows: Sequence[Sequence[Sequence[int]]], *, normalise: bool
) -> Float32:
    """One vector a text: the mean of its windows', weighted by their tokens."""
    counts = [len(of_text) for of_text in windows]
    starts = np.cumsum([0, *counts[:-1]])
    weights = np.array([[len(ids)] for of_text in windows for ids in of_text], np.float32)
    totals = np.add.reduceat(weights, starts, axis=0)
    sums = np.add.reduceat(values * weights, starts, axis=0)
    vectors = sums / totals
    if normalise:
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    result: Float32 = vectors.astype(np.float32)
    return result
