"""The chunks of one space as the log the index follows."""

from __future__ import annotations

from skerry.index.base import Entry, Page
from skerry.index.chunks import chunk_payload
from skerry.sql.base import Database
from skerry.sql.changes import ChangeLog
from skerry.sql.document_changes import ChunkFeed, EmbeddedChunk


class ChunkIndexFeed:
    """Fills the index's Feed from the database."""

    def __init__(self, db: Database, *, space: str) -> None:
        self.epoch = ChangeLog(db).epoch
        self._feed = ChunkFeed(db, space=space)

    def head(self) -> int:
        """Seq of the latest committed change."""
        return self._feed.head()

    async def after(self, seq: int, *, limit: int) -> Page:
        """The next changes after `seq`; chunks without a vector here count as deleted."""
        changes = await self._feed.after(seq, limit=limit)
        entries = [_put(chunk) for chunk in changes.upserts]
        entries += [Entry(gone, "del") for gone in changes.deletes]
        return Page(changes.seq, entries)


def _put(chunk: EmbeddedChunk) -> Entry:
    payload = chunk_payload(
        document=chunk.document,
        category=chunk.category,
        timestamp=chunk.timestamp,
        metadata=chunk.metadata,
    )
    return Entry(chunk.id, "put", chunk.vector, payload)
