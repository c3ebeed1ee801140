"""Cut documents into chunks, name their terms, and embed them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from skerry.media.chunks import Chunk, chunk
from skerry.media.tokens import Tokens
from skerry.media.words import index_terms
from skerry.pipelines.stages import Stages
from skerry.pipelines.texts.embed import PASSAGE, Embedder
from skerry.sql.document_rows import NewChunk, NewDocument

MAX_TOKENS = 200
"""Of a chunk, and at most three quarters of the window: the rest is for title and heading."""
OVERLAP = 40
CONTEXT_CHARACTERS = 200
"""Of title and heading together; with them a chunk is found better (`benchmarks/retrieval.py`)."""


@dataclass(frozen=True, slots=True)
class Source:
    """A document that is to be cut; `pages` are the offsets at which its pages begin."""

    document: NewDocument
    pages: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Cut:
    """A chunk before it has a vector: its place, what the model reads, and its terms."""

    place: Chunk
    text: str
    terms: list[str]


async def embedded_chunks(
    sources: Sequence[Source],
    embedder: Embedder,
    *,
    threads: Executor,
    deadline: float,
    stages: Stages,
) -> list[list[NewChunk]]:
    """The chunks of each source, with terms and vectors; raises as `Embedder.embed`."""
    loop = asyncio.get_running_loop()
    with stages.measure("tokenize"):
        cuts = [
            await loop.run_in_executor(threads, cut, source, embedder.tokens) for source in sources
        ]
    texts = [one.text for of_source in cuts for one in of_source]
    # What title and heading push beyond the window is read in a second one, and averaged.
    done = await embedder.embed(
        texts, deadline=deadline, stages=stages, long="split", use=embedder.known(PASSAGE)
    )
    vectors = iter(done.vectors)
    return [
        [
            NewChunk(
                start=one.place.start,
                end=one.place.end,
                terms=one.terms,
                embedding=next(vectors),
                page=one.place.page,
                heading=one.place.heading,
            )
            for one in of_source
        ]
        for of_source in cuts
    ]


def cut(source: Source, tokens: Tokens) -> list[Cut]:
    """Cut a document where the window of a model with these tokens asks for it; blocks."""
    document = source.document
    max_tokens = min(MAX_TOKENS, 3 * tokens.max_tokens // 4)
    places = chunk(
        document.text,
        token_starts=tokens.starts(document.text),
        max_tokens=max_tokens,
        overlap=max_tokens * OVERLAP // MAX_TOKENS,
        pages=source.pages,
    )
    return [_cut(document, place) for place in places]


def _cut(document: NewDocument, place: Chunk) -> Cut:
    body = document.text[place.start : place.end]
    whole = in_context(body, title=document.title, heading=place.heading)
    return Cut(place, whole, index_terms(whole))


def in_context(body: str, *, title: str | None, heading: str) -> str:
    """A chunk under the title and heading that it does not show itself: what it is about.

    Of these it takes the first CONTEXT_CHARACTERS.
    """
    lines = dict.fromkeys(line for line in (title, heading) if line)
    missing = "\n".join(line for line in lines if line not in body)
    return f"{missing[:CONTEXT_CHARACTERS].rstrip()}\n{body}" if missing else body
