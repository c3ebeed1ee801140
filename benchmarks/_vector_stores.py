"""Vectors with fields to filter by, in Skerry's documents, in Chroma and in LanceDB."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from _vectors import Data

from skerry.filters import Condition, Filter
from skerry.index.chunks import CHUNK_FIELDS
from skerry.index.view import Index
from skerry.metrics import Metrics
from skerry.pipelines.documents.feed import ChunkIndexFeed
from skerry.sql.document_rows import Addition, NewChunk, NewDocument
from skerry.sql.documents import DocumentTable
from skerry.sql.spaces import SpaceTable
from skerry.sql.sqlite import SqliteDatabase
from skerry.vectors.base import CollectionSpec, Float32
from skerry.vectors.edge import EdgeVectors

BATCH = 100
PATIENCE_S = 60.0
EVERY = (2, 10, 100, 1000)
"""A field of each point says, for each of these, whether it is one of every n."""


class Store(Protocol):
    """One contender."""

    async def fill(self, data: Data) -> None:
        """Store all points; on return they are found."""

    async def build(self) -> bool:
        """Make its graph; False when it needs none for so few points, or has it already."""

    async def search(self, query: Float32, limit: int, *, every: int = 1) -> list[int]:
        """The numbers of the nearest of every n-th point."""

    def widen(self) -> bool:
        """Look at more points from now on, for a better recall; False when there is no more."""

    async def close(self) -> None:
        """Give everything back."""


class SkerryStore:
    """Rows, chunks, terms and vectors in one transaction for every hundred documents."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def fill(self, data: Data) -> None:
        """Each point is a document of one chunk, whose words and vector are given."""
        self._db = SqliteDatabase(self._folder / "skerry.db")
        space = "benchmark"
        await SpaceTable(self._db, "chunk").add(space, model="benchmark", size=data.size)
        spec = CollectionSpec("documents", space, data.size, fields=CHUNK_FIELDS)
        self._feed = ChunkIndexFeed(self._db, space=space)
        self._index = Index(
            spec,
            feed=self._feed,
            factory=lambda folder: EdgeVectors(EdgeVectors.Options(), folder=folder),
            folder=self._folder / "index",
            metrics=Metrics(),
        )
        await self._index.open()
        table = DocumentTable(self._db)
        for start in range(0, len(data.stored), BATCH):
            stop = min(start + BATCH, len(data.stored))
            additions = [_addition(data, number) for number in range(start, stop)]
            await self._index.ready_for_writes(deadline=_deadline())
            await self._db.write(lambda tx, new=additions: table.put(tx, new, space=space))
            self._index.notify()
        await self._index.caught_up(self._feed.head())

    async def build(self) -> bool:
        """The graph, which the index also makes by itself in time."""
        return await self._index.optimise()

    async def search(self, query: Float32, limit: int, *, every: int = 1) -> list[int]:
        """As a dense search does it once the question is a vector."""
        matches = await self._index.search(
            query, limit=limit, deadline=_deadline(), filter=_filter(every)
        )
        return [match.id - 1 for match in matches]

    def widen(self) -> bool:
        """As it comes: no dial."""
        return False

    async def close(self) -> None:
        """Close index and database."""
        await self._index.close()
        await self._db.close()


class ChromaStore:
    """A persistent client in this process; its graph grows with every batch."""

    BATCH = 5_000
    WIDTHS = (100, 200, 400, 800)

    def __init__(self, folder: Path) -> None:
        import chromadb

        settings = chromadb.Settings(anonymized_telemetry=False)
        self._client = chromadb.PersistentClient(str(folder), settings=settings)
        self._width = 0

    async def fill(self, data: Data) -> None:
        """Add vectors and fields, without texts."""
        graph = {"space": "cosine", "ef_search": self.WIDTHS[0]}
        self._collection = self._client.create_collection(
            "documents", configuration={"hnsw": graph}, embedding_function=None
        )
        for start in range(0, len(data.stored), self.BATCH):
            stop = min(start + self.BATCH, len(data.stored))
            await asyncio.to_thread(
                self._collection.add,
                ids=[str(number) for number in range(start, stop)],
                embeddings=data.stored[start:stop],
                metadatas=[_fields(number) for number in range(start, stop)],
            )

    async def build(self) -> bool:
        """Nothing to do."""
        return False

    async def search(self, query: Float32, limit: int, *, every: int = 1) -> list[int]:
        """In a thread, so that both cores may serve it."""
        where = {} if every == 1 else {"where": {f"every{every}": 0}}
        found = await asyncio.to_thread(
            self._collection.query,
            query_embeddings=[query],
            n_results=limit,
            include=["distances"],
            **where,
        )
        return [int(number) for number in found["ids"][0]]

    def widen(self) -> bool:
        """Twice as many candidates."""
        if self._width + 1 == len(self.WIDTHS):
            return False
        self._width += 1
        self._collection.modify(configuration={"hnsw": {"ef_search": self.WIDTHS[self._width]}})
        return True

    async def close(self) -> None:
        """Its client goes with the process."""


class LanceStore:
    """A table in this process; a large one has a graph of bytes, rescored by the originals."""

    BATCH = 10_000
    MANY = 20_000
    """Its scan of fewer points is quick and exact."""
    WIDTHS = (50, 100, 200, 400, 800)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._width = 0
        self._has_graph = False

    async def fill(self, data: Data) -> None:
        """Append vectors and fields in large batches, which it likes best."""
        import lancedb

        database = await lancedb.connect_async(str(self._folder))
        self._table: Any = None
        for start in range(0, len(data.stored), self.BATCH):
            rows = _arrow(data, start, min(start + self.BATCH, len(data.stored)))
            if self._table is None:
                self._table = await database.create_table("documents", rows)
            else:
                await self._table.add(rows)
        self._count = len(data.stored)

    async def build(self) -> bool:
        """One graph over all points, unless there are few."""
        if self._count < self.MANY:
            return False
        from lancedb.index import HnswSq

        graph = HnswSq(distance_type="cosine", num_partitions=1)
        await self._table.create_index("vector", config=graph)
        self._has_graph = True
        return True

    async def search(self, query: Float32, limit: int, *, every: int = 1) -> list[int]:
        """By its asynchronous interface; filters come before the search."""
        asked = self._table.query().nearest_to(query).distance_type("cosine").limit(limit)
        if self._has_graph:
            asked = asked.nprobes(1).ef(self.WIDTHS[self._width]).refine_factor(2)
        if every > 1:
            asked = asked.where(f"every{every} = 0")
        found = await asked.select(["number", "_distance"]).to_arrow()
        numbers: list[int] = found["number"].to_pylist()
        return numbers

    def widen(self) -> bool:
        """Twice as many candidates."""
        if not self._has_graph or self._width + 1 == len(self.WIDTHS):
            return False
        self._width += 1
        return True

    async def close(self) -> None:
        """Its table goes with the process."""


STORES: dict[str, Callable[[Path], Store]] = {
    "Skerry": SkerryStore,
    "Chroma": ChromaStore,
    "LanceDB": LanceStore,
}
PACKAGES = {"Chroma": "chromadb", "LanceDB": "lancedb"}


def _addition(data: Data, number: int) -> Addition:
    document = NewDocument(
        str(number),
        f"Text {number}",
        timestamp=1_700_000_000 + number,
        metadata=_fields(number),
    )
    chunk = NewChunk(0, len(document.text), ["text", str(number)], data.stored[number])
    return Addition(document, [chunk])


def _fields(number: int) -> dict[str, int]:
    return {f"every{every}": number % every for every in EVERY}


def _filter(every: int) -> Filter | None:
    if every == 1:
        return None
    return Filter(must=(Condition(f"metadata.every{every}", value=0),))


def _arrow(data: Data, start: int, stop: int) -> Any:
    import pyarrow as pa

    numbers = range(start, stop)
    flat = pa.array(data.stored[start:stop].ravel())
    columns = {
        "number": pa.array(numbers, pa.int64()),
        "vector": pa.FixedSizeListArray.from_arrays(flat, data.size),
    }
    for every in EVERY:
        columns[f"every{every}"] = pa.array([number % every for number in numbers], pa.int32())
    return pa.table(columns)


def _deadline() -> float:
    return asyncio.get_running_loop().time() + PATIENCE_S
