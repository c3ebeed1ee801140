"""Chunks of documents as the log tells of them, with their vectors: what their index follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from skerry.sql.base import Row
from skerry.sql.document_rows import CHUNK, FIELDS, FoundChunk, Scalar, decode_metadata, found_chunk
from skerry.sql.feeds import SpaceFeed


@dataclass(frozen=True, slots=True)
class EmbeddedChunk:
    """A chunk's vector, float32 (d,), and the fields of its document that filters know."""

    id: int
    document: str
    category: str | None
    timestamp: int | None
    metadata: dict[str, Scalar | list[Scalar]]
    vector: NDArray[np.float32]


class ChunkFeed(SpaceFeed[EmbeddedChunk]):
    """Chunks of one space as a stream of changes."""

    kind = "chunk"

    async def embedded(self, ids: Sequence[int]) -> list[EmbeddedChunk]:
        """Vectors and filter fields of those `ids` that have a vector here."""
        if not ids:
            return []
        rows = await self._db.query(
            "SELECT chunks.id, documents.id, category, timestamp, metadata, vector "
            "FROM json_each(?) wanted CROSS JOIN chunks ON chunks.id = wanted.value "
            "CROSS JOIN documents ON documents.key = chunks.document CROSS JOIN embeddings "
            "ON kind = 'chunk' AND item_id = chunks.id AND space = ?",
            (msgspec.json.encode(ids).decode(), self.space),
        )
        return [_embedded_chunk(row) for row in rows]

    async def missing(self, *, after_id: int = 0, limit: int = 1000) -> list[FoundChunk]:
        """Chunks without a vector in this space, by id: what a new model has to embed."""
        rows = await self._db.query(
            f"SELECT {CHUNK}, {FIELDS} FROM chunks CROSS JOIN documents "
            "ON documents.key = chunks.document WHERE chunks.id > ? AND NOT EXISTS (SELECT 1 "
            "FROM embeddings WHERE kind = 'chunk' AND item_id = chunks.id AND space = ?) "
            "ORDER BY chunks.id LIMIT ?",
            (after_id, self.space, limit),
        )
        return [found_chunk(row) for row in rows]


def _embedded_chunk(row: Row) -> EmbeddedChunk:
    vector = np.frombuffer(row[5], dtype="<f4")
    values: list[Any] = [*row[:4], decode_metadata(row[4]), vector]
    return EmbeddedChunk(*values)
