"""Move all documents to another embedding model while searches go on with the present one."""

from __future__ import annotations

import asyncio
import logging

from skerry.errors import Conflict
from skerry.inference.base import Float32
from skerry.jobs.board import Job, JobBoard, JobHandle
from skerry.pipelines.documents.chunking import in_context
from skerry.pipelines.documents.library import DocumentLibrary
from skerry.pipelines.giving_way import when_there_is_room
from skerry.pipelines.stages import Stages
from skerry.pipelines.texts.embed import PASSAGE, Embedder
from skerry.pipelines.texts.models import TextModels
from skerry.sql.base import Database, Transaction
from skerry.sql.document_changes import ChunkFeed
from skerry.sql.document_rows import FoundChunk
from skerry.sql.spaces import SpaceTable

log = logging.getLogger(__name__)

AT_ONCE = 64
EMBED_S = 300.0


class DocumentReindexer:
    """Fills another model's space in the background, and switches to it at once.

    The chunks stay where they were cut; what a smaller window cannot hold is read in several.
    """

    def __init__(
        self,
        db: Database,
        spaces: SpaceTable,
        library: DocumentLibrary,
        texts: TextModels,
        jobs: JobBoard,
    ) -> None:
        self._db = db
        self._spaces = spaces
        self._library = library
        self._texts = texts
        self._jobs = jobs
        self._moving = False

    async def use(self, name: str) -> Job:
        """Start the move to the embedding model `name`.

        Raises ModelNotFound, WrongTask or ModelUnavailable at once, and Conflict when the
        documents are in its space already or another move runs.
        """
        async with self._texts.embedder(name) as embedder:
            active = self._library.index.space
            if active is not None and active.name == embedder.info.space:
                raise Conflict(f"The documents are embedded by '{name}' already.")
        if self._moving:
            raise Conflict("Another change of model runs.", remedy="See: skerry jobs list")
        self._moving = True
        return await self._jobs.start(
            "reindex-documents", lambda job: self._run(job, name), arguments={"model": name}
        )

    async def _run(self, job: JobHandle, name: str) -> None:
        try:
            async with self._texts.embedder(name) as embedder:
                await self._move(job, embedder)
        finally:
            self._moving = False

    async def _move(self, job: JobHandle, embedder: Embedder) -> None:
        index = self._library.index
        if index.space is None:  # nothing is stored yet
            await index.ready_for(embedder)
            return
        info = embedder.info
        space = await self._spaces.add(
            info.space, model=info.model, size=embedder.manifest.embedding_size
        )
        feed = ChunkFeed(self._db, space=space.name)
        await self._fill(job, feed, embedder)
        successor = await index.fill(space, head=feed.head())
        async with self._library.gate.closed():
            try:
                # What was stored with the old model meanwhile; from here on nothing is.
                await self._fill(job, feed, embedder)
                await successor.caught_up(feed.head())
                await self._spaces.activate(space.name)
            except BaseException:
                await index.switch.abandon(successor)
                raise
            left = index.space
            old = index.change_to(space, successor)
        if old is not None:
            await index.switch.retire(old)
        await self._spaces.remove(left.name)
        log.info("Documents are searched by '%s' now", info.model)

    async def _fill(self, job: JobHandle, feed: ChunkFeed, embedder: Embedder) -> None:
        done, last_id = await feed.count(), 0
        total = await self._library.table.count_chunks()
        while chunks := await feed.missing(after_id=last_id, limit=AT_ONCE):
            vectors = await self._vectors(chunks, embedder)
            await self._db.write(
                lambda tx, c=chunks, v=vectors: self._store(tx, c, v, space=feed.space)  # type: ignore[misc]
            )
            self._library.index.switch.notify()
            last_id, done = chunks[-1].id, done + len(chunks)
            # What is stored meanwhile is of the old model, and counts when it has been embedded.
            await job.progress(done, total=max(total, done))

    def _store(
        self, tx: Transaction, chunks: list[FoundChunk], vectors: Float32, *, space: str
    ) -> None:
        for chunk, vector in zip(chunks, vectors, strict=True):
            self._library.table.put_embedding(tx, chunk.id, embedding=vector, space=space)

    async def _vectors(self, chunks: list[FoundChunk], embedder: Embedder) -> Float32:
        texts = [in_context(one.text, title=one.title, heading=one.heading) for one in chunks]
        loop = asyncio.get_running_loop()
        done = await when_there_is_room(
            lambda: embedder.embed(
                texts, deadline=loop.time() + EMBED_S, stages=Stages(), long="split",
                use=embedder.known(PASSAGE),
            )
        )  # fmt: skip
        return done.vectors
