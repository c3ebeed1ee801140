"""A filter picks the same documents as SQL and as the vector index understands it."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.errors import BadRequest, UnknownField
from skerry.filters import MAX_CONDITIONS, Condition, Filter, Range
from skerry.index.chunks import chunk_payload
from skerry.sql.document_filters import document_clause
from skerry.sql.document_rows import NewDocument
from skerry.sql.sqlite import SqliteDatabase
from skerry.vectors.filters import holds

from .library import store

WORDS = ("a", "b", "1", "true", "", "é", "e\u0301", "A", "'--", "작")
NUMBERS = (0, 1, 2, -1, 3, (1 << 53) + 1, -(1 << 63), (1 << 63) - 1)
FRACTIONS = (0.0, -0.0, 1.0, 0.5, 3.0, 1e300, float(1 << 53), 5e-324)
NAMES = ("n", "x y", "d.o.t", "작", "key", "$[0]")

SCALARS = st.sampled_from(WORDS) | st.sampled_from(NUMBERS) | st.booleans() | (
    st.sampled_from(FRACTIONS)
)  # fmt: skip
METADATA = st.dictionaries(st.sampled_from(NAMES), SCALARS | st.lists(SCALARS, max_size=3))
DOCUMENTS = st.builds(
    NewDocument,
    id=st.just("d"),
    text=st.just("x"),
    category=st.none() | st.sampled_from([word for word in WORDS if word]),
    timestamp=st.none() | st.sampled_from(NUMBERS),
    metadata=METADATA,
)

KEYS = st.sampled_from(("id", "category", "timestamp", *(f"metadata.{name}" for name in NAMES)))
BOUNDS = st.none() | st.sampled_from(NUMBERS) | st.sampled_from(FRACTIONS)
RANGES = st.builds(Range, gt=BOUNDS, gte=BOUNDS, lt=BOUNDS, lte=BOUNDS)
ASKED = st.sampled_from((*WORDS, "a\0", "\ud800", "d"))
LISTS = st.lists(ASKED, max_size=3) | st.lists(st.sampled_from(NUMBERS), max_size=3)
CONDITIONS = st.builds(
    Condition,
    key=KEYS,
    value=st.none() | ASKED | st.sampled_from(NUMBERS) | st.booleans(),
    any=st.none() | LISTS.map(tuple),
    except_=st.none() | LISTS.map(tuple),
    range=st.none() | RANGES,
).filter(lambda one: any(test is not None for test in (one.value, one.any, one.except_, one.range)))


def joined(items):
    some = st.lists(items, max_size=2).map(tuple)
    return st.builds(Filter, must=some, should=some, must_not=some)


FILTERS = joined(CONDITIONS) | joined(CONDITIONS | joined(CONDITIONS))


@pytest.fixture(scope="module")
def loop():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def database(loop, tmp_path_factory):
    async def opened():
        return SqliteDatabase(tmp_path_factory.mktemp("filters") / "a.db")

    database = loop.run(opened())
    yield database
    loop.run(database.close())


@settings(max_examples=40, deadline=None)
@given(
    documents=st.lists(DOCUMENTS, min_size=1, max_size=8),
    filters=st.lists(FILTERS, min_size=5, max_size=20),
)
def test_filter_means_the_same_in_sql_and_over_payloads(loop, database, documents, filters):
    named = [
        NewDocument(f"d{n}" if n else "d", "x", None, one.category, one.timestamp, one.metadata)
        for n, one in enumerate(documents)
    ]
    loop.run(database.write(lambda tx: tx.execute("DELETE FROM documents")))
    loop.run(store(database, *named))
    for wanted in filters:
        clause = document_clause(wanted)
        sql = f"SELECT id FROM documents WHERE {clause.sql}"
        found = {row[0] for row in database.read(sql, clause.arguments)}
        expected = {one.id for one in named if holds(wanted, payload(one))}
        assert found == expected, (wanted, clause)


def payload(document):
    return chunk_payload(
        document=document.id,
        category=document.category,
        timestamp=document.timestamp,
        metadata=document.metadata,
    )


async def test_largest_filter_allowed_is_no_trouble_for_sql(db):
    await store(db, NewDocument("d", "x", metadata={"n": [7]}))
    for clause in ("must", "should", "must_not"):
        conditions = tuple(
            Condition("metadata.n", except_=(number,), range=Range(gt=0))
            for number in range(MAX_CONDITIONS)
        )
        inner = Filter(**{clause: conditions})
        for _ in range(7):
            inner = Filter(**{clause: (inner,)})
        found = document_clause(inner)
        db.read(f"SELECT id FROM documents WHERE {found.sql}", found.arguments)


def test_unknown_field_and_huge_filter_are_refused():
    with pytest.raises(UnknownField, match="colour"):
        document_clause(Filter(must=(Condition("colour", value="red"),)))
    with pytest.raises(BadRequest, match="more than"):
        document_clause(Filter(must=(Condition("id", value="a"),) * (MAX_CONDITIONS + 1)))


def test_no_filter_passes_everything():
    assert document_clause(None).sql == "true"
    assert document_clause(Filter()).sql == "true"
