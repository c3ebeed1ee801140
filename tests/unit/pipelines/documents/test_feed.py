"""Chunks reach the index with the fields that filters know, and leave it when they go."""

import numpy as np
import pytest

from skerry.filters import Condition, Filter
from skerry.pipelines.documents.feed import ChunkIndexFeed
from skerry.sql.document_rows import Addition, NewChunk, NewDocument
from skerry.sql.documents import DocumentTable
from skerry.sql.sqlite import SqliteDatabase
from skerry.vectors.base import Changes, CollectionSpec, Point
from skerry.vectors.exact import ExactVectors

VECTOR = np.ones(4, np.float32)


@pytest.fixture
async def db(tmp_path):
    database = SqliteDatabase(tmp_path / "a.db")
    yield database
    await database.close()


async def store(db, *documents, space="s"):
    chunks = [NewChunk(0, 1, ["x"], VECTOR), NewChunk(1, 2, ["y"], VECTOR)]
    additions = [Addition(document, chunks) for document in documents]
    table = DocumentTable(db)
    await db.write(lambda tx: table.put(tx, additions, space=space))


async def test_page_gives_payloads_and_deletes(db):
    feed = ChunkIndexFeed(db, space="s")
    await store(db, NewDocument("a", "xy", None, "c", 5, {"lang": ["en"]}), NewDocument("b", "xy"))
    await db.write(lambda tx: DocumentTable(db).delete(tx, ["b"]))
    page = await feed.after(0, limit=100)
    assert page.seq == feed.head()
    assert [(entry.id, entry.op, entry.payload) for entry in page.entries] == [
        (1, "put", {"id": "a", "category": "c", "timestamp": 5, "metadata.lang": ["en"]}),
        (2, "put", {"id": "a", "category": "c", "timestamp": 5, "metadata.lang": ["en"]}),
        (3, "del", None),
        (4, "del", None),
    ]
    again = await feed.after(page.seq, limit=100)
    assert (again.seq, again.entries) == (page.seq, [])


async def test_chunk_without_a_vector_in_this_space_counts_as_deleted(db):
    await store(db, NewDocument("a", "xy"), space="other")
    page = await ChunkIndexFeed(db, space="s").after(0, limit=100)
    assert [(entry.id, entry.op) for entry in page.entries] == [(1, "del"), (2, "del")]


async def test_new_metadata_reaches_the_filters_of_the_index(db, tmp_path):
    index = ExactVectors(ExactVectors.Options(), folder=tmp_path / "index")
    await index.open(CollectionSpec("documents", "s", 4))
    feed, seq = ChunkIndexFeed(db, space="s"), 0
    english = Filter(must=(Condition("metadata.lang", value="en"),))
    for lang, expected in (("en", [1, 2]), ("de", []), ("en", [1, 2])):
        await store(db, NewDocument("a", "xy", metadata={"lang": lang}))
        page = await feed.after(seq, limit=100)
        seq = page.seq
        points = [Point(entry.id, entry.vector, entry.payload) for entry in page.entries]
        await index.apply(Changes(seq, points, []))
        found = await index.search(VECTOR, limit=9, filter=english)
        assert sorted(match.id for match in found) == expected
    await index.destroy()
