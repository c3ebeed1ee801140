"""Statements that read documents go by an index: a slow plan shows only when there are many."""

import pytest

from skerry.filters import Condition, Filter, Range
from skerry.sql.document_changes import ChunkFeed
from skerry.sql.document_rows import NewDocument
from skerry.sql.documents import DocumentTable
from skerry.sql.keywords import KeywordIndex

from .library import TEXT_SPACE, store
from .test_plans import Explained

TABLES = ("documents", "document_values", "chunks", "embeddings", "changes")
SELECTIVE = (
    Condition("id", any=("1", "2")),
    Condition("category", value="c7"),
    Condition("timestamp", range=Range(gte=7, lt=9)),
    Condition("metadata.n", value=7),
    Condition("metadata.n", any=(7, 8)),
    Condition("metadata.n", range=Range(gte=7, lt=9)),
)


@pytest.fixture(params=["guessing", "analysed"])
async def db(request, tmp_path):
    database = Explained(tmp_path / "a.db")
    database.plans = {}
    await store(
        database,
        *(NewDocument(str(n), "x\ny", None, f"c{n}", n, {"n": n, "all": "x"}) for n in range(200)),
    )
    if request.param == "analysed":
        await database.write(lambda tx: tx.execute("ANALYZE"))
    yield database
    await database.close()


def walks(plan):
    starts = tuple(f"SCAN {table}" for table in TABLES)
    return [step for step in plan if step.startswith(starts) and "INDEX" not in step]


async def test_reading_documents_never_walks_through_a_table(db):
    documents, feed = DocumentTable(db), ChunkFeed(db, space=TEXT_SPACE)
    await documents.get("1")
    await documents.chunks("1")
    documents.found([1, 2])
    await documents.compare([NewDocument("1", "x")])
    await documents.facets("category")
    await documents.facets("category", chunk_ids=[1, 2])
    await documents.facets("metadata.n", chunk_ids=[1, 2])
    await documents.metadata_facets([1, 2])
    await feed.after(feed.head() - 5)
    await feed.missing(after_id=5, limit=5)
    for sql, plan in db.plans.items():
        assert walks(plan) == [], (sql, plan)


@pytest.mark.parametrize("condition", SELECTIVE, ids=str)
async def test_selective_filter_is_looked_up(db, condition):
    wanted = Filter(must=(condition,))
    assert 0 < await DocumentTable(db).count(wanted) < 3
    assert len(await KeywordIndex(db).search(["x"], limit=9, filter=wanted)) < 3
    for sql, plan in db.plans.items():
        assert walks(plan) == [], (sql, plan)


async def test_keywords_are_searched_once_and_not_for_each_document(db):
    wanted = Filter(must=(Condition("category", value="c7"),))
    await KeywordIndex(db).search(["x"], limit=9, filter=wanted)
    (plan,) = db.plans.values()
    # "M1" is the match alone; with "=" the index would be asked for one rowid after the other.
    assert plan[0] == "SCAN chunk_terms VIRTUAL TABLE INDEX 0:M1", plan


async def test_facets_of_few_chunks_do_not_go_through_every_value(db):
    await DocumentTable(db).facets("metadata.n", chunk_ids=[1])
    (plan,) = db.plans.values()
    assert any("document_values_by_document (document=? AND name=?)" in step for step in plan), plan


async def test_feed_looks_up_each_chunk_its_document_and_its_vector_by_key(db):
    await ChunkFeed(db, space=TEXT_SPACE).embedded([1, 2])
    (plan,) = db.plans.values()
    assert plan[0].startswith("SCAN wanted")
    assert "chunks USING INTEGER PRIMARY KEY" in plan[1]
    assert "documents USING INTEGER PRIMARY KEY" in plan[2]
    assert "(kind=? AND item_id=? AND space=?)" in plan[3]
