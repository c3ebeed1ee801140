"""The table of documents: rows and chunks in, rows and chunks out, pages and facets by filter."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from skerry.errors import BadRequest
from skerry.filters import METADATA, Filter
from skerry.sql.base import Database, Row, Transaction, Value
from skerry.sql.document_filters import document_clause
from skerry.sql.document_rows import (
    CHUNK,
    FIELDS,
    SUMMARY,
    Addition,
    Change,
    ChunkRow,
    DocumentRow,
    DocumentSummary,
    Facet,
    FoundChunk,
    NewChunk,
    NewDocument,
    Stored,
    content_hash,
    document_row,
    document_summary,
    encode_metadata,
    found_chunk,
)
from skerry.sql.filters import Cursor
from skerry.sql.keywords import KeywordIndex

DELETE_CHUNK = 100


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Documents of one page, the cursor of the next (None at the end), and how many match."""

    rows: list[DocumentSummary]
    next: str | None
    total: int


class DocumentTable:
    """Reads go to the database; writes take the transaction they belong to."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._keywords = KeywordIndex(db)

    async def compare(self, documents: Sequence[NewDocument]) -> list[Change]:
        """What storing each would do, as things stand: only where it is "created" or "updated"
        are chunks needed. The documents have passed `check_document`.
        """
        rows = await self._db.query(
            f"SELECT {STANDING} FROM json_each(?) wanted CROSS JOIN documents "
            "ON documents.id = wanted.value",
            (_json([document.id for document in documents]),),
        )
        standing = {str(row[0]): row for row in rows}
        return [_change(document, standing.get(document.id)) for document in documents]

    def put(self, tx: Transaction, additions: Sequence[Addition], *, space: str) -> list[Stored]:
        """Store documents with their chunks, terms and vectors in `space`, in this order.

        What is equal costs a lookup. An addition without chunks whose text turns out to be new
        is not stored, and its outcome is "stale": embed it and put it again.
        """
        return [self._put(tx, addition, space) for addition in additions]

    async def get(self, id: str) -> DocumentRow | None:
        """The document with its text."""
        rows = await self._db.query(
            f"SELECT {SUMMARY}, text FROM documents WHERE documents.id = ?", (id,)
        )
        return document_row(rows[0]) if rows else None

    async def chunks(self, id: str) -> list[ChunkRow]:
        """The chunks of the document, in the order of its text."""
        rows = await self._db.query(
            f"SELECT {CHUNK} FROM documents CROSS JOIN chunks ON document = documents.key "
            "WHERE documents.id = ? ORDER BY position",
            (id,),
        )
        return [ChunkRow(*row) for row in rows]

    def found(self, chunk_ids: Sequence[int]) -> list[FoundChunk]:
        """The chunks with their documents' fields, in this order, without those that are gone."""
        rows = self._db.read(
            f"SELECT {CHUNK}, {FIELDS} FROM json_each(?) wanted "
            "CROSS JOIN chunks ON chunks.id = wanted.value "
            "CROSS JOIN documents ON documents.key = chunks.document ORDER BY wanted.key",
            (_json(chunk_ids),),
        )
        return [found_chunk(row) for row in rows]

    async def page(
        self, filter: Filter | None = None, *, cursor: str | None = None, limit: int = 50
    ) -> DocumentPage:
        """The last added first; documents stored while one pages do not shift what follows.

        Raises BadRequest for a filter as `document_clause`, or a cursor that is not ours.
        """
        clause = document_clause(filter)
        total = await self.count(filter)
        below = Cursor.parse(cursor).id if cursor is not None else None
        found = await self._db.query(
            f"SELECT {SUMMARY} FROM documents WHERE documents.key < ? AND {clause.sql} "
            "ORDER BY documents.key DESC LIMIT ?",
            (LAST_KEY if below is None else below, *clause.arguments, limit + 1),
        )
        rows = [document_summary(row) for row in found[:limit]]
        more = len(found) > limit and rows
        following = Cursor(rows[-1].created_at, rows[-1].key).text if more else None
        return DocumentPage(rows, following, total)

    async def count(self, filter: Filter | None = None) -> int:
        """Documents that pass; milliseconds when there are many."""
        clause = document_clause(filter)
        rows = await self._db.query(
            f"SELECT count(*) FROM documents WHERE {clause.sql}", clause.arguments
        )
        return int(rows[0][0])

    async def count_chunks(self) -> int:
        """Chunks of all documents; reads an index, not the texts."""
        rows = await self._db.query("SELECT count(*) FROM chunks")
        return int(rows[0][0])

    async def facets(
        self,
        field: str,
        *,
        filter: Filter | None = None,
        chunk_ids: Sequence[int] | None = None,
        limit: int = 10,
    ) -> list[Facet]:
        """The commonest values of `category` or `metadata.NAME` among the documents that pass.

        With `chunk_ids`, only among the documents of these chunks. BadRequest for other fields.
        """
        clause = document_clause(filter)
        within, arguments = clause.sql, list(clause.arguments)
        if chunk_ids is not None:
            within += (
                " AND documents.key IN (SELECT document FROM chunks "
                "WHERE id IN (SELECT value FROM json_each(?)))"
            )
            arguments.append(_json(chunk_ids))
        is_narrow = chunk_ids is not None
        rows = await self._db.query(
            *_facet_statement(field, within, arguments, limit=limit, is_narrow=is_narrow)
        )
        return [Facet(bool(value) if kind == "bool" else value, n) for kind, value, n in rows]

    async def metadata_facets(
        self, chunk_ids: Sequence[int], *, names: int = 8, values: int = 12
    ) -> dict[str, list[Facet]]:
        """Facets of the metadata that tell the documents of these chunks apart, as `facets`.

        By `metadata.NAME`: at most `names`, the commonest first, of at most `values` values each;
        a name of more values, such as a number of its own for each document, is left out.
        """
        rows = await self._db.query(METADATA_COUNTED, (_json(chunk_ids),))
        found: dict[str, list[Facet]] = {}
        for name, kind, value, n in rows:
            told = Facet(bool(value) if kind == "bool" else value, n)
            found.setdefault(METADATA + str(name), []).append(told)
        few = {name: told for name, told in found.items() if len(told) <= values}
        most = sorted(few, key=lambda name: -sum(facet.count for facet in few[name]))
        return {name: few[name] for name in most[:names]}

    def delete(self, tx: Transaction, ids: Sequence[str]) -> list[str]:
        """Remove documents with their chunks, terms and vectors; the ids that were there."""
        rows = tx.execute(
            "DELETE FROM documents WHERE id IN (SELECT value FROM json_each(?)) RETURNING id",
            (_json(ids),),
        )
        return [str(row[0]) for row in rows]

    async def delete_matching(self, filter: Filter) -> int:
        """Remove the documents that pass now, some in each transaction; how many."""
        clause = document_clause(filter)
        rows = await self._db.query(
            f"SELECT documents.key FROM documents WHERE {clause.sql}", clause.arguments
        )
        keys, deleted = [int(row[0]) for row in rows], 0
        for start in range(0, len(keys), DELETE_CHUNK):
            some = keys[start : start + DELETE_CHUNK]
            # In chunks, so that other writes are not kept waiting.
            deleted += await self._db.write(lambda tx, some=some: _delete_if(tx, some, filter))  # type: ignore[misc]
        return deleted

    def put_embedding(
        self, tx: Transaction, chunk_id: int, *, embedding: NDArray[np.float32], space: str
    ) -> bool:
        """Set the chunk's vector in `space`, float32 (d,); False when the chunk is gone."""
        stored = tx.execute(
            "INSERT INTO embeddings (kind, item_id, space, vector) "
            "SELECT 'chunk', id, ?, ? FROM chunks WHERE id = ? "
            "ON CONFLICT DO UPDATE SET vector = excluded.vector RETURNING item_id",
            (space, np.ascontiguousarray(embedding, dtype="<f4").tobytes(), chunk_id),
        )
        return bool(list(stored))

    def _put(self, tx: Transaction, addition: Addition, space: str) -> Stored:
        new, chunks = addition.document, addition.chunks
        rows = tx.execute(f"SELECT {STANDING} FROM documents WHERE id = ?", (new.id,))
        standing = next(iter(list(rows)), None)
        change = _change(new, standing)
        present = 0 if standing is None else int(standing[1])
        if change == "unchanged":
            return Stored(new.id, change, present)
        if change == "fields_updated":
            _update_fields(tx, new)
            return Stored(new.id, change, present)
        if chunks is None:
            return Stored(new.id, "stale", present)
        key = _write_document(tx, new, chunk_count=len(chunks))
        for position, chunk in enumerate(chunks):
            self._put_chunk(tx, new, chunk, key=key, position=position, space=space)
        return Stored(new.id, change, len(chunks))

    def _put_chunk(
        self, tx: Transaction, new: NewDocument, chunk: NewChunk, *, key: int, position: int,
        space: str,
    ) -> None:  # fmt: skip
        tx.execute(
            "INSERT INTO chunks (document, position, start, stop, page, heading, text) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                key, position, chunk.start, chunk.end, chunk.page, chunk.heading,
                new.text[chunk.start : chunk.end],
            ),
        )  # fmt: skip
        chunk_id = tx.last_id()
        self._keywords.put(tx, chunk_id, chunk.terms)
        self.put_embedding(tx, chunk_id, embedding=chunk.embedding, space=space)


LAST_KEY = (1 << 63) - 1
METADATA_COUNTED = (
    "SELECT name, type, value, count(*) AS n "
    "FROM document_values INDEXED BY document_values_by_document WHERE document IN "
    "(SELECT document FROM chunks WHERE id IN (SELECT value FROM json_each(?))) "
    "GROUP BY name, type, value ORDER BY name, n DESC, type, value"
)
STANDING = "documents.id, chunk_count, content_hash, category, timestamp, metadata"


def _change(new: NewDocument, standing: Row | None) -> Change:
    if standing is None:
        return "created"
    if standing[2] != content_hash(new):
        return "updated"
    fields = (new.category, new.timestamp, encode_metadata(new.metadata))
    return "unchanged" if fields == tuple(standing[3:]) else "fields_updated"


def _update_fields(tx: Transaction, new: NewDocument) -> None:
    tx.execute(
        "UPDATE documents SET category = ?, timestamp = ?, metadata = ?, updated_at = ? "
        "WHERE id = ?",
        (new.category, new.timestamp, encode_metadata(new.metadata), int(time.time()), new.id),
    )


def _write_document(tx: Transaction, new: NewDocument, *, chunk_count: int) -> int:
    """Insert or update the row, without chunks as yet; its key."""
    # Before the row changes, or its old chunks would be logged once more.
    tx.execute(
        "DELETE FROM chunks WHERE document = (SELECT key FROM documents WHERE id = ?)", (new.id,)
    )
    now = int(time.time())
    rows = tx.execute(
        "INSERT INTO documents (id, title, category, timestamp, metadata, created_at, updated_at, "
        "chunk_count, characters, content_hash, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET title = excluded.title, category = excluded.category, "
        "timestamp = excluded.timestamp, metadata = excluded.metadata, "
        "updated_at = excluded.updated_at, chunk_count = excluded.chunk_count, "
        "characters = excluded.characters, content_hash = excluded.content_hash, "
        "text = excluded.text RETURNING key",
        (
            new.id, new.title, new.category, new.timestamp, encode_metadata(new.metadata), now, now,
            chunk_count, len(new.text), content_hash(new), new.text,
        ),
    )  # fmt: skip
    ((key,),) = list(rows)
    return int(key)


def _delete_if(tx: Transaction, keys: list[int], filter: Filter) -> int:
    # Asked again: since they were listed, some may have changed and pass no longer.
    clause = document_clause(filter)
    rows = tx.execute(
        "DELETE FROM documents WHERE key IN (SELECT value FROM json_each(?)) "
        f"AND {clause.sql} RETURNING key",
        (_json(keys), *clause.arguments),
    )
    return len(list(rows))


def _facet_statement(
    field: str, within: str, arguments: list[Value], *, limit: int, is_narrow: bool
) -> tuple[str, tuple[Value, ...]]:
    if field == "category":
        sql = (
            "SELECT 'text', category, count(*) AS n FROM documents "
            f"WHERE category IS NOT NULL AND {within} "
            "GROUP BY category ORDER BY n DESC, category LIMIT ?"
        )
        return sql, (*arguments, limit)
    if field.startswith(METADATA):
        # Left to itself SQLite goes through every value of this name, however few documents.
        way = "INDEXED BY document_values_by_document" if is_narrow else ""
        sql = (
            f"SELECT type, value, count(*) AS n FROM document_values {way} WHERE name = ? "
            f"AND document IN (SELECT documents.key FROM documents WHERE {within}) "
            "GROUP BY type, value ORDER BY n DESC, type, value LIMIT ?"
        )
        return sql, (field.removeprefix(METADATA), *arguments, limit)
    raise BadRequest(
        f"There are no facets of '{field}'.", remedy="Name category, metadata or metadata.NAME."
    )


def _json(values: Sequence[str] | Sequence[int]) -> str:
    return msgspec.json.encode(values).decode()
