"""Embed and classify the texts of one request, a slice at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from skerry.api.contract import Exchange
from skerry.errors import FieldRefused

if TYPE_CHECKING:
    from skerry.pipelines.classify import Classified, TextClassifier
    from skerry.pipelines.embed import Embedder, Embeddings, Long

SLICE = 64
"""Texts admitted at once: others get their turn between two slices of a large request, and the
deadline holds for each slice, so that a large request may take its time."""


async def embed_texts(
    embedder: Embedder,
    texts: Sequence[str | Sequence[int]],
    *,
    exchange: Exchange,
    long: Long,
    use: str = "",
    use_field: str,
) -> Embeddings:
    """The vectors of all texts; FieldRefused for a use the model has no prefix for."""
    prefixes = embedder.manifest.prefixes
    if use and use not in prefixes:
        known = ", ".join(sorted(prefixes)) or "none"
        raise FieldRefused(
            f"'{embedder.manifest.name}' knows no '{use[:80]}'; known: {known}.", field=use_field
        )
    parts: list[Embeddings] = []
    for start in range(0, len(texts), SLICE):
        parts.append(
            await embedder.embed(
                texts[start : start + SLICE],
                deadline=_deadline(exchange), stages=exchange.stages, long=long, use=use,
            )
        )  # fmt: skip
    if len(parts) == 1:
        return parts[0]
    vectors = np.concatenate([part.vectors for part in parts])
    return replace(parts[0], vectors=vectors, tokens=[n for part in parts for n in part.tokens])


async def classify_texts(
    classifier: TextClassifier, texts: Sequence[str], *, exchange: Exchange, long: Long
) -> list[Classified]:
    """The classes of all texts."""
    found: list[Classified] = []
    for start in range(0, len(texts), SLICE):
        found += await classifier.classify(
            texts[start : start + SLICE],
            deadline=_deadline(exchange), stages=exchange.stages, long=long,
        )  # fmt: skip
    return found


def _deadline(exchange: Exchange) -> float:
    return asyncio.get_running_loop().time() + exchange.node.settings.limits.deadline_s
