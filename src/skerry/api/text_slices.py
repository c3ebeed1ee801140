"""Embed and classify the texts of one request, a slice at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import numpy as np

from skerry.api.contract import Exchange
from skerry.api.streaming import while_connected
from skerry.errors import BadRequest, FieldRefused
from skerry.pipelines.texts.classify import Classified, TextClassifier
from skerry.pipelines.texts.embed import Embedder, Embeddings, Long, Text

SLICE_TEXTS = 512
SLICE_CHARACTERS = 1 << 16
"""About a second's work. The deadline holds for each slice, so that a large request may take its
time; it ends when its client leaves."""
TOKEN_CHARACTERS = 4
T = TypeVar("T", bound=Text)
R = TypeVar("R")


async def embed_texts(
    embedder: Embedder,
    texts: Sequence[Text],
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

    async def embed(part: Sequence[Text]) -> Embeddings:
        return await embedder.embed(
            part, deadline=_deadline(exchange), stages=exchange.stages, long=long, use=use
        )

    parts = await _in_slices(texts, embed, exchange)
    if len(parts) == 1:
        return parts[0]
    vectors = np.concatenate([part.vectors for part in parts])
    return Embeddings(vectors, [count for part in parts for count in part.tokens])


async def classify_texts(
    classifier: TextClassifier, texts: Sequence[str], *, exchange: Exchange, long: Long
) -> list[Classified]:
    """The classes of all texts."""

    async def classify(part: Sequence[str]) -> list[Classified]:
        return await classifier.classify(
            part, deadline=_deadline(exchange), stages=exchange.stages, long=long
        )

    return [one for part in await _in_slices(texts, classify, exchange) for one in part]


def slices(texts: Sequence[T]) -> list[Sequence[T]]:
    """The texts in their order, in parts of about the same work."""
    found, start, characters = [], 0, 0
    for i, text in enumerate(texts):
        size = len(text) if isinstance(text, str) else TOKEN_CHARACTERS * len(text)
        full = i - start == SLICE_TEXTS or characters + size > SLICE_CHARACTERS
        if full and i > start:
            found.append(texts[start:i])
            start, characters = i, 0
        characters += size
    return [*found, texts[start:]]


async def _in_slices(
    texts: Sequence[T], work: Callable[[Sequence[T]], Awaitable[R]], exchange: Exchange
) -> list[R]:
    parts = slices(texts)
    if len(parts) == 1:
        # It is over before watching for the client's going would pay.
        return [await work(texts)]
    done: list[R] = []
    start = 0
    async with while_connected(exchange):
        for part in parts:
            try:
                done.append(await work(part))
            except BadRequest as error:
                # Its message counts from the first text of the slice.
                error.message = f"In the texts from number {start} on: {error.message}"
                raise
            start += len(part)
    return done


def _deadline(exchange: Exchange) -> float:
    return asyncio.get_running_loop().time() + exchange.node.settings.limits.deadline_s
