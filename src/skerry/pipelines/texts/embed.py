"""Turn texts into vectors that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from skerry.errors import BadRequest
from skerry.inference.base import EngineInfo, Float32
from skerry.inference.encoder import TextSubmitter
from skerry.media.tokens import Long as Long
from skerry.media.tokens import Tokens
from skerry.models.manifest import EmbeddingManifest
from skerry.pipelines.stages import Stages
from skerry.pipelines.texts.windows import Reader, Windows, token_counts, weighted_means

Text = str | Sequence[int]
"""A text, or the token ids of one."""

QUERY, PASSAGE = "query", "document"
"""The uses of a text that searches and of one that is found, as manifests name their prefixes."""
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
        self.tokens = tokens
        self._reader = Reader(submitter, threads=threads)
        self.info: EngineInfo = self._reader.info

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
        windows = await self._reader.tokenized(
            lambda: self._tokenize(texts, prefix, long),
            inline=_size(texts) <= INLINE_SIZE,
            deadline=deadline,
            stages=stages,
        )
        values = await self._reader.encoded(windows, deadline=deadline, stages=stages)
        tokens = token_counts(windows)
        if len(values) == len(windows):
            return Embeddings(values, tokens)
        vectors: Float32 = weighted_means(values, windows)
        if self.manifest.normalized:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return Embeddings(vectors, tokens)

    def known(self, use: str) -> str:
        """`use` when the model has a prefix for it, else none."""
        return use if use in self.manifest.prefixes else ""

    async def close(self) -> None:
        """Finish what was admitted, then free the model."""
        await self._reader.close()

    def _prefix(self, use: str) -> str:
        prefixes = self.manifest.prefixes
        if use and use not in prefixes:
            known = ", ".join(sorted(prefixes)) or "none"
            raise BadRequest(
                f"'{self.manifest.name}' has no prefix for the use '{use}'.",
                remedy=f"Its uses: {known}.",
            )
        return prefixes[use] if use else ""

    def _tokenize(self, texts: Sequence[Text], prefix: str, long: Long) -> Windows:
        written = [prefix + text for text in texts if isinstance(text, str)]
        if len(written) == len(texts):
            return self.tokens.windows(written, long=long)
        if written:
            raise BadRequest("Send either texts or token arrays in one call.")
        if prefix:
            raise BadRequest("A use puts words before a text, and token arrays have no words.")
        return [
            self.tokens.given(ids, number=number, long=long)
            for number, ids in enumerate(texts)
            if not isinstance(ids, str)
        ]


def _size(texts: Sequence[Text]) -> int:
    """Letters and tokens to look through."""
    return sum(map(len, texts)) + len(texts)
