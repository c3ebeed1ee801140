"""Search documents by meaning, by words, or by both."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from skerry.errors import SpaceMismatch
from skerry.filters import Filter
from skerry.media.words import Word, is_lone, query_terms, words
from skerry.pipelines.documents.fusion import Ranked, distribution_based
from skerry.pipelines.documents.index import DocumentIndex
from skerry.pipelines.stages import Stages
from skerry.pipelines.texts.embed import QUERY
from skerry.pipelines.texts.models import TextModels
from skerry.sql.document_rows import Facet, FoundChunk
from skerry.sql.documents import DocumentTable
from skerry.sql.keywords import KeywordIndex

Mode = Literal["hybrid", "dense", "keyword"]
CANDIDATES = 100
"""Chunks that each search brings; facets and the order of the results come from these.

50 and 200 find as well (`benchmarks/retrieval.py`).
"""
MAX_CANDIDATES = 1000
ALL_METADATA = "metadata"
"""The facet that stands for every name of metadata with few values."""


@dataclass(frozen=True, slots=True)
class SearchOrder:
    """What is looked for. `threshold` drops results below that score; `group` keeps the best
    chunk of each document."""

    query: str
    mode: Mode = "hybrid"
    limit: int = 10
    offset: int = 0
    filter: Filter | None = None
    threshold: float | None = None
    group: bool = False
    facets: tuple[str, ...] = ("category",)


class Hit(msgspec.Struct, frozen=True):
    """A chunk that was found. `score`: cosine (dense), BM25 (keyword), or both mapped to 0…1.

    `highlights` are the places in its text of the words that were asked for.
    """

    chunk: FoundChunk
    score: float
    highlights: list[tuple[int, int]]


class DocumentsFound(msgspec.Struct, frozen=True):
    """One page of hits, and facets over the documents of all candidates."""

    hits: list[Hit]
    facets: dict[str, list[Facet]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The best chunks, best first, and what each search brought by itself: cosines and BM25."""

    hits: list[Hit]
    meaning: Ranked
    words: Ranked


class DocumentSearch:
    """The flow of `POST /api/search`."""

    def __init__(
        self,
        table: DocumentTable,
        keywords: KeywordIndex,
        texts: TextModels,
        index: DocumentIndex,
    ) -> None:
        self._table = table
        self._keywords = keywords
        self._texts = texts
        self._index = index

    async def search(
        self, order: SearchOrder, *, deadline: float, stages: Stages
    ) -> DocumentsFound:
        """The best chunks, best first.

        Raises BadRequest for a filter that cannot be used, ModelUnavailable, IndexUnavailable,
        Overloaded, DeadlineExceeded. Without any document it finds nothing.
        """
        if self._index.space is None:
            return DocumentsFound([], {})
        ranked = await self._candidates(order, deadline=deadline, stages=stages)
        ids = [chunk_id for chunk_id, _ in ranked]
        with stages.measure("metadata"):
            page = self._page(order, ranked)
            facets = await self._facets(order, ids)
            terms = frozenset(query_terms(order.query))
            hits = await asyncio.to_thread(_with_highlights, page, dict(ranked), terms)
        return DocumentsFound(hits, facets)

    async def _facets(self, order: SearchOrder, ids: Sequence[int]) -> dict[str, list[Facet]]:
        facets: dict[str, list[Facet]] = {}
        for field in order.facets:
            if field == ALL_METADATA:
                facets = await self._table.metadata_facets(ids) | facets
            else:
                facets[field] = await self._table.facets(field, chunk_ids=ids)
        return facets

    async def evidence(self, order: SearchOrder, *, deadline: float, stages: Stages) -> Evidence:
        """The best chunks of a hybrid search, whatever the order's mode; raises as `search`."""
        if self._index.space is None:
            return Evidence([], [], [])
        meaning, words = await self._both(order, CANDIDATES, deadline=deadline, stages=stages)
        ranked = _fused(meaning, words)
        with stages.measure("metadata"):
            page = self._page(order, ranked)
        scores = dict(ranked)
        return Evidence([Hit(chunk, scores[chunk.id], []) for chunk in page], meaning, words)

    async def _candidates(self, order: SearchOrder, *, deadline: float, stages: Stages) -> Ranked:
        count = min(MAX_CANDIDATES, max(CANDIDATES, 2 * (order.offset + order.limit)))
        if order.mode == "keyword":
            return await self._by_words(order, count, stages=stages)
        if order.mode == "dense":
            return await self._by_meaning(order, count, deadline=deadline, stages=stages)
        return _fused(*await self._both(order, count, deadline=deadline, stages=stages))

    async def _both(
        self, order: SearchOrder, count: int, *, deadline: float, stages: Stages
    ) -> tuple[Ranked, Ranked]:
        return await asyncio.gather(
            self._by_meaning(order, count, deadline=deadline, stages=stages),
            self._by_words(order, count, stages=stages),
        )

    async def _by_meaning(
        self, order: SearchOrder, count: int, *, deadline: float, stages: Stages
    ) -> Ranked:
        model = self._index.model
        try:
            return await self._near(order, count, deadline=deadline, stages=stages)
        except SpaceMismatch:
            # The documents moved to another model meanwhile: once more, with that one.
            if model == self._index.model:
                raise
            return await self._near(order, count, deadline=deadline, stages=stages)

    async def _near(
        self, order: SearchOrder, count: int, *, deadline: float, stages: Stages
    ) -> Ranked:
        async with self._texts.embedder(self._index.model) as embedder:
            self._index.check(embedder)
            embedded = await embedder.embed(
                [order.query], deadline=deadline, stages=stages, long="split",
                use=embedder.known(QUERY),
            )  # fmt: skip
            space = embedder.info.space
        with stages.measure("search"):
            matches = await self._index.switch.search(
                embedded.vectors[0], limit=count, deadline=deadline, filter=order.filter,
                space=space,
            )  # fmt: skip
        return [(match.id, match.score) for match in matches]

    async def _by_words(self, order: SearchOrder, count: int, *, stages: Stages) -> Ranked:
        terms = repeated_terms(order.query)
        with stages.measure("keywords"):
            return await self._keywords.search(terms, limit=count, filter=order.filter)

    def _page(self, order: SearchOrder, ranked: Ranked) -> list[FoundChunk]:
        least = -math.inf if order.threshold is None else order.threshold
        wanted = [chunk_id for chunk_id, score in ranked if score >= least]
        end = order.offset + order.limit
        if not order.group:
            return self._table.found(wanted[order.offset : end])
        best: dict[str, FoundChunk] = {}
        for chunk in self._table.found(wanted):
            best.setdefault(chunk.document, chunk)
        return list(best.values())[order.offset : end]


def _fused(meaning: Ranked, words: Ranked) -> Ranked:
    fused = distribution_based((meaning, words))
    return sorted(fused.items(), key=lambda pair: (-pair[1], pair[0]))


def repeated_terms(query: str) -> list[str]:
    """The terms to search for, as often as the query says them: what it repeats matters more."""
    wanted = frozenset(query_terms(query))
    return [word.term for word in words(query) if word.term in wanted]


def _with_highlights(
    page: Sequence[FoundChunk], scores: Mapping[int, float], terms: frozenset[str]
) -> list[Hit]:
    return [Hit(chunk, round(scores[chunk.id], 6), highlights(chunk.text, terms)) for chunk in page]


def highlights(text: str, terms: frozenset[str]) -> list[tuple[int, int]]:
    """Where words of `text` are among `terms`, as [start, end); adjoining places are joined."""
    places: list[tuple[int, int]] = []
    lone = frozenset(filter(is_lone, terms))
    for word in words(text):
        for start, end in _places(word, terms, lone):
            if places and start <= places[-1][1]:
                places[-1] = (places[-1][0], max(places[-1][1], end))
            else:
                places.append((start, end))
    return places


def _places(word: Word, terms: frozenset[str], lone: frozenset[str]) -> Iterator[tuple[int, int]]:
    if word.term in terms:
        yield word.start, word.end
    elif lone:  # one of the two characters of a pair
        if word.term[0] in lone:
            yield word.start, word.start + 1
        if word.term[-1] in lone:
            yield word.end - 1, word.end
