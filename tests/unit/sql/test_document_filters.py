"""A filter picks the same documents as SQL and as the vector index understands it."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.errors import BadRequest, UnknownField
from skerry.filter_json import CLAUSES
from skerry.filters import MAX_CONDITIONS, Condition, Filter, Range
from skerry.index.chunks import chunk_payload
from skerry.sql.document_filters import document_clause
from skerry.sql.document_rows import NewDocument
from skerry.sql.sqlite import SqliteDatabase
from skerry.vectors.filters import holds

from .library import store

# Few values, so that documents and filters meet; among them those that are easily mistaken.
WORDS = ("a", "1", "", "é", "e\u0301", "'--")
NUMBERS = (0, 1, 2, (1 << 53) + 1)
FRACTIONS = (1.0, 0.5, float(1 << 53))
NAMES = ("n", "x.y $[0]", "작")

KEYS = ("id", "category", "timestamp", *(f"metadata.{name}" for name in NAMES))


def random_documents(count):
    pick = random.Random(0)
    scalars = (*WORDS, *NUMBERS, *FRACTIONS, True, False)

    def metadata():
        one, several = pick.choice(scalars), pick.choices(scalars, k=pick.randint(0, 3))
        return pick.choice([one, several])

    return [
        NewDocument(
            id=pick.choice(WORDS) + f"{number}" if number else "a",
            text="x",
            category=pick.choice((None, *(word for word in WORDS if word))),
            timestamp=pick.choice((None, *NUMBERS, -(1 << 63), (1 << 63) - 1)),
            metadata={name: metadata() for name in NAMES if pick.random() < 0.7},
        )
        for number in range(count)
    ]


DOCUMENTS = random_documents(60)
ASKED = (*WORDS, "a\0", "\ud800", "a1")
SINGLE_TESTS = [
    *({"value": value} for value in (*ASKED, *NUMBERS, True, False)),
    *({name: values} for name in ("any", "except_") for values in
      [(), ("a", "1"), ("a\0", "\ud800"), ("a\0", "é"), (1, 2), (0,), ((1 << 53) + 1,)]),
    *({"range": Range(**{sign: bound})} for sign in ("gt", "gte", "lt", "lte")
      for bound in (0, 1, 0.5, float(1 << 53), (1 << 53) + 1, 1 << 70)),
    {"range": Range()},
    {"value": "a", "except_": ("a",)},
    {"any": (1, 2), "range": Range(gt=1)},
]  # fmt: skip

LISTS = st.lists(st.sampled_from(ASKED), max_size=3) | st.lists(
    st.sampled_from(NUMBERS), max_size=3
)
BOUNDS = st.sampled_from((None, None, None, *NUMBERS, *FRACTIONS, 1 << 70))
TESTS = {
    "value": st.sampled_from((*ASKED, *NUMBERS, True, False)),
    "any": LISTS.map(tuple),
    "except_": LISTS.map(tuple),
    "range": st.builds(Range, gt=BOUNDS, gte=BOUNDS, lt=BOUNDS, lte=BOUNDS),
}


@st.composite
def conditions(draw):
    names = draw(st.lists(st.sampled_from(sorted(TESTS)), min_size=1, max_size=2, unique=True))
    return Condition(draw(st.sampled_from(KEYS)), **{name: draw(TESTS[name]) for name in names})


@st.composite
def filters_over(draw, items):
    """Mostly of one clause: with all three, hardly anything passes."""
    names = draw(st.lists(st.sampled_from(CLAUSES), min_size=1, max_size=2, unique=True))
    some = st.lists(items, min_size=1, max_size=2).map(tuple)
    return Filter(**{name: draw(some) for name in names})


FLAT = filters_over(conditions())
FILTERS = FLAT | filters_over(FLAT | conditions())


@pytest.fixture(scope="module")
def loop():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def library(loop, tmp_path_factory):
    async def filled():
        database = SqliteDatabase(tmp_path_factory.mktemp("filters") / "a.db")
        await store(database, *DOCUMENTS)
        return database

    database = loop.run(filled())
    yield database
    loop.run(database.close())


def check(database, wanted):
    clause = document_clause(wanted)
    sql = f"SELECT id FROM documents WHERE {clause.sql}"
    found = {row[0] for row in database.read(sql, clause.arguments)}
    assert found == {one.id for one in DOCUMENTS if holds(wanted, payload(one))}, clause
    return found


def payload(document):
    return chunk_payload(
        document=document.id,
        category=document.category,
        timestamp=document.timestamp,
        metadata=document.metadata,
    )


@pytest.mark.parametrize("key", KEYS)
def test_each_test_means_the_same_in_sql_and_over_payloads(library, key):
    passing = 0
    for test in SINGLE_TESTS:
        condition = Condition(key, **test)
        found = check(library, Filter(must=(condition,)))
        assert len(found) + len(check(library, Filter(must_not=(condition,)))) == len(DOCUMENTS)
        passing += bool(found)
    assert passing > 3


@settings(max_examples=300, deadline=None)
@given(wanted=FILTERS)
def test_joined_tests_mean_the_same_in_sql_and_over_payloads(library, wanted):
    check(library, wanted)


async def test_largest_filter_allowed_is_no_trouble_for_sql(db):
    await store(db, NewDocument("d", "x", metadata={"n": [7]}))
    for clause in CLAUSES:
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
