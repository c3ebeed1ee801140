import asyncio
from dataclasses import dataclass, field

import apsw
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.errors import Conflict
from skerry.sql.changes import ChangeLog
from skerry.sql.image_changes import ImageFeed
from skerry.sql.images import ImageRow, ImageTable, Label
from skerry.sql.sqlite import SqliteDatabase

from .conftest import SPACE, new_image, vector


async def log_of(db: SqliteDatabase, seq: int = 0) -> list[tuple[int, str]]:
    return [(change.id, change.op) for change in await ChangeLog(db).after(seq)]


async def run(db: SqliteDatabase, sql: str, *arguments: object) -> None:
    await db.write(lambda tx: list(tx.execute(sql, arguments)))


async def test_insert_update_and_delete_are_logged_as_the_last_of_each_id(db, table, add):
    a, b = await add("a"), await add("b")
    assert await log_of(db) == [(a.id, "put"), (b.id, "put")]
    head = ChangeLog(db).head()
    await db.write(lambda tx: table.update(tx, a.id, filename="x"))
    assert await log_of(db, head) == [(a.id, "put")]
    await db.write(lambda tx: table.delete(tx, a.id))
    assert await log_of(db) == [(b.id, "put"), (a.id, "del")]


async def test_change_of_an_embedding_is_a_change_of_its_image(db, table, add):
    row = await add("a")
    for sql in (
        "INSERT INTO embeddings VALUES ('image', 1, 'other', x'00000000')",
        "UPDATE embeddings SET vector = x'11111111' WHERE space = 'other'",
        "DELETE FROM embeddings WHERE space = 'other'",
    ):
        head = ChangeLog(db).head()
        await run(db, sql)
        assert await log_of(db, head) == [(row.id, "put")], sql


async def test_replace_that_evicts_by_unique_logs_the_delete(db, table, add):
    """Without recursive_triggers the evicted row would vanish without an entry."""
    row = await add("a")
    head = ChangeLog(db).head()
    await run(
        db,
        "INSERT OR REPLACE INTO images SELECT 77, sha256, filename, media_type, width, height, "
        "bytes, uploaded_by, created_at, tags, labels FROM images",
    )
    assert await log_of(db, head) == [(row.id, "del"), (77, "put")]
    assert db.read("SELECT count(*) FROM embeddings") == [(0,)]
    assert db.read("SELECT DISTINCT image_id FROM image_tags") == [(77,)]


async def test_new_primary_key_logs_a_delete_of_the_old_one_and_takes_everything_along(
    db, table, add
):
    row = await add("a")
    head = ChangeLog(db).head()
    await run(db, "UPDATE images SET id = 77")
    assert await log_of(db, head) == [(row.id, "del"), (77, "put")]
    (moved,) = await ImageFeed(db, space=SPACE).embedded([77])
    assert moved.row.tags == row.tags
    assert db.read("SELECT DISTINCT image_id FROM image_labels") == [(77,)]
    assert db.read("SELECT item_id FROM embeddings") == [(77,)]


async def test_work_that_raises_leaves_no_entry(db, table):
    def fail(tx):
        table.insert(tx, new_image("a"), embedding=vector(), space=SPACE)
        raise KeyError

    with pytest.raises(KeyError):
        await db.write(fail)
    assert ChangeLog(db).head() == 0


async def test_compaction_keeps_the_last_entry_of_each_id_and_never_reuses_a_seq(db, table, add):
    rows = [await add(name) for name in "abc"]
    for _ in range(5):
        await db.write(lambda tx: table.update(tx, rows[0].id, filename="x"))
    await db.write(lambda tx: table.delete(tx, rows[2].id))
    log = ChangeLog(db)
    before, head = await log.after(0), log.head()
    assert await log.compact() > 0
    assert await log.after(0) == before
    assert db.read("SELECT count(*) FROM changes") == [(3,)]
    assert log.head() == head
    assert await log.compact() == 0
    await db.write(lambda tx: table.delete(tx, rows[1].id))
    assert log.head() > head


async def test_feed_gives_rows_with_their_vectors_and_ids_that_have_none(db, table, add):
    kept, gone = await add("a"), await add("b")
    feed = ImageFeed(db, space=SPACE)
    await db.write(lambda tx: table.delete(tx, gone.id))
    changes = await feed.after(0)
    assert changes.seq == feed.head()
    assert [image.row for image in changes.upserts] == [kept]
    np.testing.assert_array_equal(changes.upserts[0].vector, vector())
    assert changes.upserts[0].vector.dtype == np.float32
    assert changes.deletes == [gone.id]
    end = await feed.after(changes.seq)
    assert (end.seq, end.upserts, end.deletes) == (changes.seq, [], [])


async def test_feed_of_another_space_has_only_what_was_embedded_there(db, table, add):
    first, second = await add("a"), await add("b")
    feed = ImageFeed(db, space="new")
    assert [row.id for row in await feed.missing()] == [first.id, second.id]
    assert [row.id for row in await feed.missing(after_id=first.id)] == [second.id]
    await db.write(lambda tx: table.put_embedding(tx, second.id, embedding=vector(1), space="new"))
    changes = await feed.after(0)
    assert [image.row.id for image in changes.upserts] == [second.id]
    assert changes.deletes == [first.id]
    assert (await feed.count(), await ImageFeed(db, space=SPACE).count()) == (1, 2)
    assert [row.id for row in await feed.missing()] == [first.id]


# ---- whatever happens, following the log gives an equal copy


@dataclass
class Follower:
    """What a view does: applies changes, a few at a time."""

    feed: ImageFeed
    limit: int
    seq: int = 0
    images: dict[int, tuple[ImageRow, bytes]] = field(default_factory=dict)

    async def catch_up(self) -> None:
        while self.seq < self.feed.head():
            changes = await self.feed.after(self.seq, limit=self.limit)
            assert changes.seq > self.seq
            self.seq = changes.seq
            for gone in changes.deletes:
                self.images.pop(gone, None)
            for image in changes.upserts:
                self.images[image.row.id] = (image.row, image.vector.tobytes())


NAMES = st.sampled_from("abcde")
IDS = st.integers(1, 8)
TAGS = st.dictionaries(st.sampled_from("xyz"), st.integers(-3, 3) | st.text(max_size=2), max_size=2)
OPERATIONS = st.one_of(
    st.tuples(st.just("insert"), NAMES, TAGS),
    st.tuples(st.just("update"), IDS, TAGS),
    st.tuples(st.just("relabel"), IDS, st.sampled_from(["tabby, cat", "lynx", "é, \u0130"])),
    st.tuples(st.just("delete"), IDS),
    st.tuples(st.just("embed"), IDS, st.sampled_from([SPACE, "other"]), st.integers(0, 5)),
    st.tuples(st.just("unembed"), IDS),
    st.tuples(st.just("move"), IDS, IDS),
    st.tuples(st.just("replace"), IDS, NAMES),
    st.tuples(st.just("compact")),
    st.tuples(st.just("follow")),
)


async def perform(db: SqliteDatabase, table: ImageTable, operation: tuple) -> None:
    def work(tx):
        match operation:
            case "insert", name, tags:
                table.insert(tx, new_image(name, tags=tags), embedding=vector(), space=SPACE)
            case "update", image, tags:
                table.update(tx, image, tags=tags)
            case "relabel", image, label:
                table.update(tx, image, labels=(Label(label, 1, 0.5),))
            case "delete", image:
                table.delete(tx, image)
            case "embed", image, space, seed:
                table.put_embedding(tx, image, embedding=vector(seed), space=space)
            case "unembed", image:
                tx.execute("DELETE FROM embeddings WHERE item_id = ?", (image,))
            case "move", image, target:
                tx.execute("UPDATE images SET id = ? WHERE id = ?", (target, image))
            case "replace", image, name:
                tx.execute(
                    "INSERT OR REPLACE INTO images SELECT ?, ?, filename, media_type, width, "
                    "height, bytes, uploaded_by, created_at, tags, labels FROM images LIMIT 1",
                    (image, new_image(name).sha256),
                )

    try:
        await db.write(work)
    except (apsw.ConstraintError, Conflict) as error:  # two rows of one key: a fair answer
        assert "UNIQUE" in str(error) or "already stored" in str(error), error


async def truth(db: SqliteDatabase) -> dict[int, tuple[ImageRow, bytes]]:
    rows = db.read("SELECT id FROM images")
    images = await ImageFeed(db, space=SPACE).embedded([row[0] for row in rows])
    return {image.row.id: (image.row, image.vector.tobytes()) for image in images}


def side_tables_agree(db: SqliteDatabase) -> None:
    tags = db.read(
        "SELECT images.id, key, type IN ('true', 'false'), value FROM images, json_each(tags) "
        "EXCEPT SELECT image_id, name, is_bool, value FROM image_tags"
    )
    strays = db.read(
        "SELECT count(*) FROM image_tags WHERE image_id NOT IN (SELECT id FROM images)"
    )
    sizes = db.read("SELECT (SELECT count(*) FROM image_tags), "
                    "(SELECT count(*) FROM images, json_each(tags))")  # fmt: skip
    tops = db.read(
        "SELECT id, labels ->> '$[0].label' FROM images WHERE labels <> '[]' "
        "EXCEPT SELECT image_id, label FROM image_labels"
    )
    orphans = db.read(
        "SELECT count(*) FROM embeddings WHERE item_id NOT IN (SELECT id FROM images)"
    )
    assert (tags, strays, tops, orphans) == ([], [(0,)], [], [(0,)])
    assert sizes[0][0] == sizes[0][1]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(operations=st.lists(OPERATIONS, max_size=25), limit=st.integers(1, 9))
def test_following_the_log_gives_an_equal_copy(tmp_path_factory, operations, limit):
    async def scenario() -> None:
        db = SqliteDatabase(tmp_path_factory.mktemp("log") / "a.db")
        table = ImageTable(db)
        follower = Follower(ImageFeed(db, space=SPACE), limit)
        for operation in operations:
            if operation == ("follow",):
                await follower.catch_up()
            elif operation == ("compact",):
                await ChangeLog(db).compact()
            else:
                await perform(db, table, operation)
        await follower.catch_up()
        late = Follower(ImageFeed(db, space=SPACE), limit)
        await late.catch_up()
        assert follower.images == late.images == await truth(db)
        side_tables_agree(db)
        await db.close()

    asyncio.run(scenario())
