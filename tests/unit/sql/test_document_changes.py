"""Chunks reach the log with everything that changes them, and leave it as they leave the table."""

import asyncio
from dataclasses import dataclass, field

import apsw
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.filters import Condition, Filter
from skerry.sql.changes import ChangeLog
from skerry.sql.document_changes import ChunkFeed
from skerry.sql.document_rows import NewDocument
from skerry.sql.documents import DocumentTable
from skerry.sql.image_changes import ImageFeed
from skerry.sql.images import ImageTable
from skerry.sql.sqlite import SqliteDatabase

from .conftest import SPACE, new_image, vector
from .library import TEXT_SPACE, store, text_vector

A = NewDocument("a", "one\ntwo", category="c", metadata={"lang": "en"})


async def log_of(db, seq=0, kind="chunk"):
    page = await ChangeLog(db).of_kind(kind, after=seq)
    return [(change.id, change.op) for change in page.changes]


async def run(db, sql, *arguments):
    await db.write(lambda tx: list(tx.execute(sql, arguments)))


async def test_insert_new_text_and_delete_are_logged(db):
    await store(db, A)
    assert await log_of(db) == [(1, "put"), (2, "put")]
    assert await log_of(db, kind="document") == [(1, "put")]
    head = ChangeLog(db).head()
    await store(db, NewDocument("a", "three", category="d"))
    assert await log_of(db, head) == [(1, "del"), (2, "del"), (3, "put")]
    head = ChangeLog(db).head()
    await db.write(lambda tx: DocumentTable(db).delete(tx, ["a"]))
    assert await log_of(db, head) == [(3, "del")]
    assert await log_of(db, head, kind="document") == [(1, "del")]


async def test_new_fields_change_every_chunk_and_a_new_title_alone_would_not(db):
    await store(db, A)
    head = ChangeLog(db).head()
    await store(db, NewDocument("a", A.text, category="d"), embedded=False)
    assert await log_of(db, head) == [(1, "put"), (2, "put")]
    head = ChangeLog(db).head()
    await run(db, "UPDATE documents SET title = 'x'")
    assert await log_of(db, head) == []


async def test_change_of_an_embedding_is_a_change_of_its_chunk(db):
    await store(db, A)
    for sql in (
        "INSERT INTO embeddings VALUES ('chunk', 1, 'other', x'00000000')",
        "UPDATE embeddings SET vector = x'11111111' WHERE space = 'other'",
        "DELETE FROM embeddings WHERE space = 'other'",
    ):
        head = ChangeLog(db).head()
        await run(db, sql)
        assert await log_of(db, head) == [(1, "put")], sql


async def test_replace_that_evicts_a_document_logs_its_chunks(db):
    """Without recursive_triggers the evicted rows would vanish without an entry."""
    await store(db, A)
    head = ChangeLog(db).head()
    await run(
        db,
        "INSERT OR REPLACE INTO documents SELECT 77, id, title, category, timestamp, metadata, "
        "created_at, updated_at, chunk_count, characters, content_hash, text FROM documents",
    )
    assert await log_of(db, head) == [(1, "del"), (2, "del")]
    assert await log_of(db, head, kind="document") == [(1, "del"), (77, "put")]
    for table in ("embeddings", "chunks", "chunk_terms"):
        assert db.read(f"SELECT count(*) FROM {table}") == [(0,)]
    assert db.read("SELECT DISTINCT document FROM document_values") == [(77,)]


async def test_new_key_of_a_document_takes_its_chunks_along(db):
    await store(db, A)
    head = ChangeLog(db).head()
    await run(db, "UPDATE documents SET key = 77")
    assert await log_of(db, head) == [(1, "put"), (2, "put")]
    (chunk,) = await ChunkFeed(db, space=TEXT_SPACE).embedded([1])
    assert chunk.document == "a"
    assert db.read("SELECT DISTINCT document FROM document_values") == [(77,)]


async def test_chunk_keeps_its_id_and_vector_of_a_chunk_that_is_gone_is_refused(db):
    await store(db, A)
    with pytest.raises(apsw.ConstraintError, match="never changes"):
        await run(db, "UPDATE chunks SET id = 77 WHERE id = 1")
    with pytest.raises(apsw.ConstraintError, match="does not exist"):
        await run(db, "INSERT INTO embeddings VALUES ('chunk', 99, 'x', x'00000000')")


async def test_image_and_chunk_of_one_id_do_not_touch_each_other(db, table, add):
    image = await add("a")
    await store(db, A)
    assert image.id == 1
    await db.write(lambda tx: table.delete(tx, 1))
    chunks = await ChunkFeed(db, space=TEXT_SPACE).embedded([1])
    assert [chunk.id for chunk in chunks] == [1]
    await add("b")
    await db.write(lambda tx: DocumentTable(db).delete(tx, ["a"]))
    assert db.read("SELECT kind, item_id FROM embeddings") == [("image", 2)]


async def test_feed_passes_over_the_changes_of_other_kinds_at_once(db, table, add):
    await add("a")
    for number in range(5):
        await store(db, NewDocument(str(number), "x"))
    head = ChangeLog(db).head()
    images, chunks = ImageFeed(db, space=SPACE), ChunkFeed(db, space=TEXT_SPACE)
    changes = await images.after(0, limit=3)
    assert (changes.seq, len(changes.upserts)) == (head, 1)
    assert (await images.after(head)).seq == head
    seen, seq = [], 0
    while seq < chunks.head():
        page = await chunks.after(seq, limit=3)
        assert page.seq > seq
        seen, seq = seen + [chunk.id for chunk in page.upserts], page.seq
    assert set(seen) == {1, 2, 3, 4, 5}


async def test_feed_gives_fields_with_vectors_and_ids_that_have_none(db):
    await store(db, A, NewDocument("b", "gone"))
    await db.write(lambda tx: DocumentTable(db).delete(tx, ["b"]))
    changes = await ChunkFeed(db, space=TEXT_SPACE).after(0)
    first = changes.upserts[0]
    assert (first.id, first.document, first.category, first.timestamp, first.metadata) == (
        1, "a", "c", None, {"lang": "en"},
    )  # fmt: skip
    np.testing.assert_array_equal(first.vector, text_vector("one"))
    assert first.vector.dtype == np.float32
    assert changes.deletes == [3]


async def test_feed_of_another_space_has_only_what_was_embedded_there(db):
    await store(db, A)
    feed, documents = ChunkFeed(db, space="new"), DocumentTable(db)
    missing = await feed.missing()
    assert [(chunk.id, chunk.text, chunk.document) for chunk in missing] == [
        (1, "one", "a"),
        (2, "two", "a"),
    ]
    assert [chunk.id for chunk in await feed.missing(after_id=1)] == [2]
    await db.write(
        lambda tx: documents.put_embedding(tx, 2, embedding=text_vector("z"), space="new")
    )
    changes = await feed.after(0)
    assert ([chunk.id for chunk in changes.upserts], changes.deletes) == ([2], [1])
    assert (await feed.count(), await ChunkFeed(db, space=TEXT_SPACE).count()) == (1, 2)


# ---- whatever happens, following the log gives an equal copy


@dataclass
class Follower:
    feed: ChunkFeed
    limit: int
    seq: int = 0
    chunks: dict[int, tuple] = field(default_factory=dict)

    async def catch_up(self):
        while self.seq < self.feed.head():
            changes = await self.feed.after(self.seq, limit=self.limit)
            assert changes.seq > self.seq
            self.seq = changes.seq
            for gone in changes.deletes:
                self.chunks.pop(gone, None)
            self.chunks.update({chunk.id: plain(chunk) for chunk in changes.upserts})


def plain(chunk):
    return (
        chunk.document, chunk.category, chunk.timestamp, repr(chunk.metadata),
        chunk.vector.tobytes(),
    )  # fmt: skip


IDS = st.sampled_from("abc")
DOCUMENTS = st.builds(
    NewDocument,
    id=IDS,
    text=st.sampled_from(["one", "one\ntwo", "three\n\nfour"]),
    title=st.sampled_from([None, "t"]),
    category=st.sampled_from([None, "c", "d"]),
    metadata=st.sampled_from([{}, {"n": 1}, {"n": [True, 1, 1.0, "1"]}]),
)
OPERATIONS = st.one_of(
    st.tuples(st.just("put"), st.lists(DOCUMENTS, min_size=1, max_size=3), st.booleans()),
    st.tuples(st.just("delete"), IDS),
    st.tuples(st.just("delete matching"), st.sampled_from("cd")),
    st.tuples(st.just("embed"), st.integers(1, 9), st.sampled_from([TEXT_SPACE, "other"])),
    st.tuples(st.just("unembed"), st.integers(1, 9)),
    st.tuples(st.just("image"), st.sampled_from("xyz")),
    st.tuples(st.just("compact")),
    st.tuples(st.just("follow")),
)


async def perform(db, documents, images, operation):
    match operation:
        case "put", several, embedded:
            await store(db, *several, embedded=embedded)
        case "delete", id:
            await db.write(lambda tx: documents.delete(tx, [id]))
        case "delete matching", category:
            matching = Filter(must=(Condition("category", value=category),))
            await documents.delete_matching(matching)
        case "embed", chunk, space:
            vector = text_vector("again")
            await db.write(
                lambda tx: documents.put_embedding(tx, chunk, embedding=vector, space=space)
            )
        case "unembed", chunk:
            await run(db, "DELETE FROM embeddings WHERE kind = 'chunk' AND item_id = ?", chunk)
        case "image", name:
            await db.write(lambda tx: put_image(tx, images, name))
        case ("compact",):
            await ChangeLog(db).compact()


def put_image(tx, images, name):
    tx.execute("DELETE FROM images")
    images.insert(tx, new_image(name), embedding=vector(), space=SPACE)


def side_tables_agree(db):
    chunks = db.read("SELECT id FROM chunks ORDER BY id")
    assert db.read("SELECT rowid FROM chunk_terms ORDER BY rowid") == chunks
    assert set(db.read("SELECT item_id FROM embeddings WHERE kind = 'chunk'")) <= set(chunks)
    assert db.read("SELECT document FROM chunks EXCEPT SELECT key FROM documents") == []
    counted = "SELECT key, chunk_count FROM documents EXCEPT SELECT document, count(*) FROM chunks"
    assert db.read(f"{counted} GROUP BY document") == []
    one_each = "SELECT document, name, type FROM document_values ORDER BY document, name, type"
    values = {}
    for key, name, kind in db.read(one_each):
        values.setdefault((key, name), []).append(kind)
    kinds = {"{}": None, '{"n":1}': ["integer"]}
    for key, metadata in db.read("SELECT key, metadata FROM documents"):
        expected = kinds.get(metadata, ["bool", "integer", "real", "text"])
        assert values.get((key, "n")) == expected
    (problem,) = db.read("PRAGMA integrity_check")
    assert problem == ("ok",)
    assert db.read("PRAGMA foreign_key_check") == []


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(operations=st.lists(OPERATIONS, max_size=15), limit=st.integers(1, 5))
def test_following_the_log_gives_an_equal_copy(tmp_path_factory, operations, limit):
    async def scenario():
        db = SqliteDatabase(tmp_path_factory.mktemp("log") / "a.db")
        documents, images = DocumentTable(db), ImageTable(db)
        follower = Follower(ChunkFeed(db, space=TEXT_SPACE), limit)
        for operation in operations:
            if operation == ("follow",):
                await follower.catch_up()
            else:
                await perform(db, documents, images, operation)
        await follower.catch_up()
        late = Follower(ChunkFeed(db, space=TEXT_SPACE), limit)
        await late.catch_up()
        ids = [row[0] for row in db.read("SELECT id FROM chunks")]
        truth = {chunk.id: plain(chunk) for chunk in await follower.feed.embedded(ids)}
        assert follower.chunks == late.chunks == truth
        side_tables_agree(db)
        await db.close()

    asyncio.run(scenario())
