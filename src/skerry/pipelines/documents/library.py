"""Store, find, list and remove documents; what is stored is found by the next search."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

from skerry.errors import DocumentNotFound
from skerry.filters import Filter
from skerry.media.readers.base import ReadDocument
from skerry.media.readers.reader import DocumentReader
from skerry.pipelines.documents.chunking import Source, embedded_chunks
from skerry.pipelines.documents.index import DocumentIndex
from skerry.pipelines.gate import Gate
from skerry.pipelines.stages import Stages
from skerry.pipelines.texts.models import TextModels
from skerry.sql.base import Database
from skerry.sql.document_rows import Addition, ChunkRow, DocumentRow, Stored
from skerry.sql.documents import DocumentPage, DocumentTable

BATCH = 100
"""Documents of one transaction."""
NEEDS_CHUNKS = ("created", "updated")


class DocumentLibrary:
    """Documents as rows, chunks, keyword terms and vectors that agree with each other."""

    def __init__(
        self,
        db: Database,
        texts: TextModels,
        index: DocumentIndex,
        *,
        threads: Executor,
    ) -> None:
        self.table = DocumentTable(db)
        self.index = index
        self.gate = Gate()
        """Closed while the node changes to another embedding model."""
        self._db = db
        self._texts = texts
        self._threads = threads
        self._reader = DocumentReader()

    async def close(self) -> None:
        """End the process that reads files."""
        await self._reader.close()

    async def read(self, data: bytes, *, filename: str) -> ReadDocument:
        """The text of a file; raises DocumentUnreadable, PayloadTooLarge."""
        return await self._reader.read(data, filename=filename)

    async def add(
        self, sources: Sequence[Source], *, deadline: float, stages: Stages
    ) -> list[Stored]:
        """Store up to BATCH checked documents; on return they are synced to disk and found.

        What is stored already costs a lookup; a new text under a known id replaces the old one.
        Raises what embedding raises (then none of these is stored), SpaceMismatch, Overloaded.
        """
        stored: dict[int, Stored] = {}
        waiting = dict(enumerate(sources))
        while waiting:
            async with self.gate.passing():
                outcomes = await self._put(list(waiting.values()), deadline=deadline, stages=stages)
            stored |= zip(waiting, outcomes, strict=True)
            # Somebody else changed their text between our look and our write.
            waiting = {at: sources[at] for at in waiting if stored[at].outcome == "stale"}
        return [stored[at] for at in range(len(sources))]

    async def get(self, id: str) -> DocumentRow:
        """The document with its text; DocumentNotFound."""
        row = await self.table.get(id)
        if row is None:
            raise DocumentNotFound(f"No document '{id[:80]}' is stored.")
        return row

    async def chunks(self, id: str) -> list[ChunkRow]:
        """The document's chunks, in the order of its text."""
        return await self.table.chunks(id)

    async def page(self, filter: Filter | None, *, cursor: str | None, limit: int) -> DocumentPage:
        """One page, the last added first."""
        return await self.table.page(filter, cursor=cursor, limit=limit)

    async def remove(self, id: str) -> None:
        """Delete the document; DocumentNotFound."""
        if not await self._db.write(lambda tx: self.table.delete(tx, [id])):
            raise DocumentNotFound(f"No document '{id[:80]}' is stored.")
        self.index.switch.notify()

    async def remove_matching(self, filter: Filter) -> int:
        """Delete the documents that pass the filter; how many there were."""
        removed = await self.table.delete_matching(filter)
        self.index.switch.notify()
        return removed

    async def _put(
        self, sources: Sequence[Source], *, deadline: float, stages: Stages
    ) -> list[Stored]:
        documents = [source.document for source in sources]
        changes = await self.table.compare(documents)
        wanted = [
            source
            for source, change in zip(sources, changes, strict=True)
            if change in NEEDS_CHUNKS
        ]
        if not wanted:
            return await self._write([Addition(one, None) for one in documents], stages=stages)
        async with self._texts.embedder(self.index.model) as embedder:
            await self.index.ready_for(embedder)
            chunks = await embedded_chunks(
                wanted, embedder, threads=self._threads, deadline=deadline, stages=stages
            )
        found = dict(zip(map(id, wanted), chunks, strict=True))
        await self.index.switch.ready_for_writes(deadline=deadline)
        additions = [Addition(source.document, found.get(id(source))) for source in sources]
        return await self._write(additions, stages=stages)

    async def _write(self, additions: Sequence[Addition], *, stages: Stages) -> list[Stored]:
        space = self.index.space
        with stages.measure("store"):
            stored = await self._db.write(
                lambda tx: self.table.put(tx, additions, space=space.name if space else "")
            )
        self.index.switch.notify()
        return stored
