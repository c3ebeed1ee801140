import pytest

from skerry.errors import BadRequest
from skerry.filters import Condition, Filter, Range
from skerry.sql.changes import ChangeLog
from skerry.sql.document_rows import ChunkRow, Facet, NewDocument
from skerry.sql.documents import DocumentTable

from .library import TEXT_SPACE, store, text_vector

A = NewDocument(
    "a", "first line\nsecond line", "Title", "books", 1_700_000_000, {"lang": "en", "n": [1, 2]}
)


@pytest.fixture
def documents(db):
    return DocumentTable(db)


def outcomes(stored):
    return [(one.id, one.outcome, one.chunks) for one in stored]


def rows_left(db):
    counts = "SELECT count(*) FROM"
    tables = ("documents", "document_values", "chunks", "embeddings", "chunk_terms")
    return [db.read(f"{counts} {table}")[0][0] for table in tables]


async def test_document_is_read_back_with_its_chunks(db, documents):
    assert outcomes(await store(db, A)) == [("a", "created", 2)]
    row = await documents.get("a")
    assert (row.id, row.text, row.title, row.category) == ("a", A.text, "Title", "books")
    assert (row.timestamp, row.metadata) == (1_700_000_000, {"lang": "en", "n": [1, 2]})
    assert (row.chunks, row.characters, row.created_at) == (2, len(A.text), row.updated_at)
    assert await documents.chunks("a") == [
        ChunkRow(1, 0, 0, 10, 1, "h", "first line"),
        ChunkRow(2, 1, 11, 22, 2, "h", "second line"),
    ]
    assert await documents.get("b") is None
    assert await documents.chunks("b") == []


async def test_offsets_count_characters_whatever_they_are(db, documents):
    await store(db, NewDocument("a", "naïve 😀\n日本\x00語"))
    texts = [chunk.text for chunk in await documents.chunks("a")]
    assert texts == ["naïve 😀", "日本\x00語"]
    row = await documents.get("a")
    assert [row.text[c.start : c.end] for c in await documents.chunks("a")] == texts


async def test_found_chunks_come_in_the_order_asked_with_their_documents_fields(db, documents):
    await store(db, A, NewDocument("b", "other"))
    found = documents.found([3, 99, 1])
    assert [(one.id, one.document, one.text) for one in found] == [
        (3, "b", "other"),
        (1, "a", "first line"),
    ]
    assert (found[1].title, found[1].category, found[1].metadata["lang"]) == (
        "Title",
        "books",
        "en",
    )
    assert (found[0].title, found[0].timestamp, found[0].metadata) == (None, None, {})
    assert documents.found([]) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "unchanged"),
        ({"metadata": {"n": [1, 2], "lang": "en"}}, "unchanged"),
        ({"metadata": {"n": [2, 1], "lang": "en"}}, "fields_updated"),
        ({"metadata": {"n": [1.0, 2], "lang": "en"}}, "fields_updated"),
        ({"category": None}, "fields_updated"),
        ({"timestamp": 5}, "fields_updated"),
        ({"title": None}, "updated"),
        ({"text": "first line\nsecond line\n"}, "updated"),
        ({"id": "b"}, "created"),
    ],
)
async def test_comparing_foretells_what_storing_does(db, documents, changes, expected):
    await store(db, A)
    head = ChangeLog(db).head()
    new = _replaced(A, changes)
    assert await documents.compare([new]) == [expected]
    needs_chunks = expected in ("created", "updated")
    (stored,) = await store(db, new, embedded=needs_chunks)
    assert (stored.outcome, stored.chunks) == (expected, 2)
    assert await documents.compare([new]) == ["unchanged"]
    assert (ChangeLog(db).head() == head) is (expected == "unchanged")
    row = await documents.get(new.id)
    assert (row.text, row.title, row.category, row.timestamp, row.metadata) == (
        new.text, new.title, new.category, new.timestamp, new.metadata,
    )  # fmt: skip


def _replaced(document, changes):
    names = ("id", "text", "title", "category", "timestamp", "metadata")
    return NewDocument(**({name: getattr(document, name) for name in names} | changes))


async def test_new_text_replaces_the_chunks_and_their_ids_are_not_used_again(db, documents):
    await store(db, A)
    await store(db, _replaced(A, {"text": "third line"}))
    assert [(one.id, one.text) for one in await documents.chunks("a")] == [(3, "third line")]
    assert documents.found([1, 2]) == []
    assert rows_left(db) == [1, 3, 1, 1, 1]
    await db.write(lambda tx: documents.delete(tx, ["a"]))
    await store(db, A)
    assert [one.id for one in await documents.chunks("a")] == [4, 5]


async def test_new_fields_keep_the_chunks_and_their_vectors(db, documents):
    await store(db, A)
    before = await documents.chunks("a"), db.read("SELECT * FROM embeddings")
    await store(db, _replaced(A, {"category": "films", "metadata": {}}), embedded=False)
    assert (await documents.chunks("a"), db.read("SELECT * FROM embeddings")) == before
    assert rows_left(db) == [1, 0, 2, 2, 2]


async def test_text_that_changed_meanwhile_is_not_stored_without_chunks(db, documents):
    await store(db, A)
    (stored,) = await store(db, _replaced(A, {"text": "new", "category": "x"}), embedded=False)
    assert (stored.outcome, stored.chunks) == ("stale", 2)
    assert (await documents.get("a")).text == A.text
    assert outcomes(await store(db, NewDocument("b", "x"), embedded=False)) == [("b", "stale", 0)]
    assert await documents.count() == 1


async def test_last_of_two_documents_of_one_id_in_a_batch_stays(db, documents):
    stored = await store(db, A, NewDocument("a", "later"))
    assert outcomes(stored) == [("a", "created", 2), ("a", "updated", 1)]
    assert (await documents.get("a")).text == "later"
    assert rows_left(db) == [1, 0, 1, 1, 1]


async def test_batch_is_stored_as_a_whole_or_not_at_all(db, documents):
    with pytest.raises(AttributeError):
        await store(db, A, NewDocument("b", 3))  # type: ignore[arg-type]
    assert rows_left(db) == [0, 0, 0, 0, 0]
    assert ChangeLog(db).head() == 0


async def test_deleting_takes_everything_along(db, documents):
    await store(db, A, NewDocument("b", "x"), NewDocument("c", "y"))
    deleted = await db.write(lambda tx: documents.delete(tx, ["a", "nobody", "c"]))
    assert sorted(deleted) == ["a", "c"]
    assert rows_left(db) == [1, 0, 1, 1, 1]


async def test_deleting_by_filter_says_how_many(db, documents):
    await store(db, *(NewDocument(str(n), "x", timestamp=n) for n in range(250)))
    old = Filter(must=(Condition("timestamp", range=Range(lt=230)),))
    assert await documents.delete_matching(old) == 230
    assert await documents.delete_matching(old) == 0
    assert await documents.count() == 20
    assert rows_left(db) == [20, 0, 20, 20, 20]


async def test_document_that_came_to_pass_no_longer_is_not_deleted(db, documents, monkeypatch):
    """It changes between the listing and the deletion, in one commit with it."""
    await store(db, NewDocument("a", "x", category="old"), NewDocument("b", "x", category="old"))
    write = db.write

    async def meddled(work):
        await write(lambda tx: tx.execute("UPDATE documents SET category = 'new' WHERE id = 'a'"))
        return await write(work)

    monkeypatch.setattr(db, "write", meddled)
    assert await documents.delete_matching(Filter(must=(Condition("category", value="old"),))) == 1
    assert (await documents.get("a")).category == "new"


async def test_pages_go_from_the_last_added_to_the_first_without_a_shift(db, documents):
    await store(db, *(NewDocument(str(n), "x", category="ab"[n % 2]) for n in range(7)))
    wanted = Filter(must=(Condition("category", value="a"),))
    first = await documents.page(wanted, limit=3)
    assert ([row.id for row in first.rows], first.total) == (["6", "4", "2"], 4)
    await store(db, NewDocument("new", "x", category="a"))
    second = await documents.page(wanted, cursor=first.next, limit=3)
    assert ([row.id for row in second.rows], second.next, second.total) == (["0"], None, 5)
    everything = await documents.page(limit=8)
    assert (len(everything.rows), everything.next) == (8, None)
    with pytest.raises(BadRequest, match="cursor"):
        await documents.page(cursor="x")


async def test_facets_count_documents_by_the_values_they_have(db, documents):
    await store(
        db,
        NewDocument("a", "x\ny", category="p", metadata={"tag": ["u", "v"], "ok": True}),
        NewDocument("b", "x", category="p", metadata={"tag": "u", "ok": 1}),
        NewDocument("c", "x", category="q", metadata={"tag": 7}),
        NewDocument("d", "x"),
    )
    assert await documents.facets("category") == [Facet("p", 2), Facet("q", 1)]
    assert await documents.facets("category", limit=1) == [Facet("p", 2)]
    assert await documents.facets("metadata.tag") == [Facet("u", 2), Facet(7, 1), Facet("v", 1)]
    ok = await documents.facets("metadata.ok")
    assert {(type(facet.value), facet.value, facet.count) for facet in ok} == {
        (bool, True, 1),
        (int, 1, 1),
    }
    only = Filter(must=(Condition("metadata.tag", value="v"),))
    assert await documents.facets("category", filter=only) == [Facet("p", 1)]
    # Two chunks of one document count once.
    assert await documents.facets("category", chunk_ids=[1, 2, 4]) == [Facet("p", 1), Facet("q", 1)]
    assert await documents.facets("metadata.tag", chunk_ids=[5]) == []
    with pytest.raises(BadRequest, match="timestamp"):
        await documents.facets("timestamp")


async def test_metadata_of_few_values_becomes_facets_without_being_named(db, documents):
    await store(
        db,
        *(
            NewDocument(str(n), "x", metadata={"number": n, "odd": n % 2 == 1, "kind": "book"})
            for n in range(9)
        ),
        NewDocument("note", "x", metadata={"kind": "note", "colour": "red"}),
    )
    chunks = list(range(1, 11))
    assert await documents.metadata_facets(chunks, values=4) == {
        "metadata.kind": [Facet("book", 9), Facet("note", 1)],
        "metadata.odd": [Facet(False, 5), Facet(True, 4)],
        "metadata.colour": [Facet("red", 1)],
    }
    assert list(await documents.metadata_facets(chunks, names=1)) == ["metadata.kind"]
    assert await documents.metadata_facets([10], values=1) == {
        "metadata.colour": [Facet("red", 1)],
        "metadata.kind": [Facet("note", 1)],
    }


async def test_vector_of_another_space_is_put_beside_and_not_for_a_chunk_that_is_gone(
    db, documents
):
    await store(db, A)

    def embed(chunk):
        return db.write(
            lambda tx: documents.put_embedding(tx, chunk, embedding=text_vector("z"), space="other")
        )

    assert await embed(1) is True
    assert await embed(1) is True
    assert await embed(9) is False
    assert db.read("SELECT item_id, space FROM embeddings ORDER BY space, item_id") == [
        (1, TEXT_SPACE),
        (2, TEXT_SPACE),
        (1, "other"),
    ]
