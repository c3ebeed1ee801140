"""Statements that read images go by an index: a slow plan shows only when there are many."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from skerry.sql.base import Row, Value
from skerry.sql.image_changes import ImageFeed
from skerry.sql.images import ImageFilters, ImageTable
from skerry.sql.sqlite import SqliteDatabase

from .conftest import SPACE, new_image, vector

IMAGES = 500
TABLES = ("images", "embeddings", "image_tags", "image_labels", "changes")


class Explained(SqliteDatabase):
    """Notes how SQLite goes about each statement it reads with."""

    plans: dict[str, list[str]]

    def read(self, sql: str, arguments: Sequence[Value] = ()) -> list[Row]:
        plan = super().read(f"EXPLAIN QUERY PLAN {sql}", arguments)
        self.plans[sql] = [row[3] for row in plan]
        return super().read(sql, arguments)


@pytest.fixture(params=["guessing", "analysed"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Explained]:
    database = Explained(tmp_path / "a.db")
    database.plans = {}
    table = ImageTable(database)

    def fill(tx):
        for index in range(IMAGES):
            image = new_image(str(index), created_at=index, tags={"n": index, "all": "x"})
            table.insert(tx, image, embedding=vector(), space=SPACE)
        if request.param == "analysed":
            tx.execute("ANALYZE")

    await database.write(fill)
    yield database
    await database.close()


async def test_reading_images_never_walks_through_a_table(db):
    table, feed = ImageTable(db), ImageFeed(db, space=SPACE)
    table.get(1), table.get("x"), table.by_ids([1, 2]), table.summaries([1, 2])
    for filters in (
        ImageFilters(),
        ImageFilters(uploaded_by="ann"),
        ImageFilters(label="tabby"),
        ImageFilters(tags={"n": "7", "all": "y"}),
        ImageFilters(created_after=5, created_before=9),
    ):
        page = await table.page(filters, limit=1)
        await table.page(filters, cursor=page.next, limit=1)
    await feed.after(feed.head() - 5)
    await feed.embedded([1, 2])
    walks = tuple(f"SCAN {table}" for table in TABLES)
    for sql, plan in db.plans.items():
        # Walking along an index is what counting, and a page from the newest down, have to do.
        scans = [step for step in plan if step.startswith(walks) and "INDEX" not in step]
        assert scans == [], (sql, plan)


async def test_feed_looks_up_each_image_and_each_vector_by_its_key(db):
    await ImageFeed(db, space=SPACE).embedded([1, 2])
    (plan,) = db.plans.values()
    assert plan[0].startswith("SCAN wanted")
    assert "INTEGER PRIMARY KEY" in plan[1]
    assert "(kind=? AND item_id=? AND space=?)" in plan[2]


async def test_tag_is_looked_up_by_its_value(db):
    await ImageTable(db).page(ImageFilters(tags={"n": "7"}))
    for sql, plan in db.plans.items():
        assert any("(name=? AND is_bool=? AND value=?)" in step for step in plan), (sql, plan)


async def test_missing_looks_for_each_vector_by_its_key(db):
    await ImageFeed(db, space="other").missing(limit=5)
    (plan,) = db.plans.values()
    assert any("(kind=? AND item_id=? AND space=?)" in step for step in plan), plan
    assert any("INTEGER PRIMARY KEY (rowid>?)" in step for step in plan), plan
