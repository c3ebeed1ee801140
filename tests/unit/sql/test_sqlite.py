import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import apsw
import pytest

from skerry.errors import Conflict, Overloaded, StorageFull, StoreUnavailable
from skerry.sql.sqlite import SqliteDatabase


def put(name: str, value: str = "v"):
    def work(tx):
        tx.execute("INSERT INTO meta VALUES (?, ?)", (name, value))
        return name

    return work


def names(db: SqliteDatabase) -> set[str]:
    return {row[0] for row in db.read("SELECT name FROM meta WHERE name <> 'epoch'")}


def test_every_pragma_takes_effect(tmp_path):
    """apsw stops at the first row of several statements and says nothing."""
    from skerry.sql.connections import connect_reader, connect_writer

    writer = connect_writer(tmp_path / "a.db")
    expected = {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "recursive_triggers": 1,
        "busy_timeout": 5000,
        "journal_size_limit": 64 << 20,
    }
    assert {name: writer.pragma(name) for name in expected} == expected
    assert connect_reader(tmp_path / "a.db").pragma("query_only") == 1


async def test_write_returns_what_the_work_returns_and_reads_see_it(db):
    assert await db.write(put("a")) == "a"
    assert names(db) == {"a"}
    assert await db.query("SELECT value FROM meta WHERE name = ?", ("a",)) == [("v",)]


async def test_acknowledged_write_is_committed_for_other_connections(db):
    other = apsw.Connection(str(db.path))

    async def write_and_look(name: str) -> bool:
        await db.write(put(name))
        found = other.execute("SELECT 1 FROM meta WHERE name = ?", (name,)).fetchone()
        return found is not None

    seen = await asyncio.gather(*(write_and_look(f"k{i}") for i in range(100)))
    other.close()
    assert all(seen)


async def test_concurrent_writes_share_commits(db):
    before = db.commits
    await asyncio.gather(*(db.write(put(f"k{i}")) for i in range(200)))
    assert len(names(db)) == 200
    assert 1 <= db.commits - before <= 20


async def test_writes_run_in_the_order_they_came(db):
    seen: list[int] = []
    await asyncio.gather(*(db.write(lambda tx, i=i: seen.append(i)) for i in range(100)))
    assert seen == list(range(100))


async def test_work_that_raises_undoes_only_itself(db):
    def fail(tx):
        put("half")(tx)
        raise KeyError("mine")

    results = await asyncio.gather(
        db.write(put("a")), db.write(fail), db.write(put("a")), db.write(put("b")),
        return_exceptions=True,
    )  # fmt: skip
    assert results[0] == "a" and results[3] == "b"
    assert isinstance(results[1], KeyError)
    assert "UNIQUE" in str(results[2])
    assert names(db) == {"a", "b"}


async def test_commit_that_fails_fails_every_write_in_it(db):
    """A deferred foreign key is checked by COMMIT only."""
    await db.write(
        lambda tx: tx.execute(
            "CREATE TABLE child (parent TEXT REFERENCES meta DEFERRABLE INITIALLY DEFERRED)"
        )
    )

    def orphan(tx):
        tx.execute("INSERT INTO child VALUES ('nobody')")

    results = await asyncio.gather(
        db.write(put("a")), db.write(orphan), db.write(put("b")), return_exceptions=True
    )
    assert [type(result).__name__ for result in results] == ["ConstraintError"] * 3
    assert names(db) == set()
    assert await db.write(put("c")) == "c"


async def test_full_queue_is_refused_with_retry_after(tmp_path):
    db = SqliteDatabase(tmp_path / "a.db", max_queue=2)
    gate, entered = threading.Event(), threading.Event()

    def block(tx):
        entered.set()
        gate.wait()

    blocked = asyncio.create_task(db.write(block))
    await asyncio.to_thread(entered.wait)
    waiting = [asyncio.create_task(db.write(put(name))) for name in "ab"]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as caught:
        await db.write(put("c"))
    assert caught.value.retry_after_s
    gate.set()
    await asyncio.gather(blocked, *waiting)
    assert names(db) == {"a", "b"}
    await db.close()


async def test_cancelled_before_it_began_is_not_done(db):
    gate, entered = threading.Event(), threading.Event()

    def block(tx):
        entered.set()
        gate.wait()

    blocked = asyncio.create_task(db.write(block))
    await asyncio.to_thread(entered.wait)
    cancelled = asyncio.create_task(db.write(put("a")))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.sleep(0)
    gate.set()
    await blocked
    await db.write(put("b"))
    assert names(db) == {"b"}


async def test_close_finishes_what_was_admitted_and_refuses_the_rest(db):
    waiting = [asyncio.create_task(db.write(put(f"k{i}"))) for i in range(20)]
    await asyncio.sleep(0)
    await db.close()
    assert len(await asyncio.gather(*waiting)) == 20
    with pytest.raises(StoreUnavailable, match="closed"):
        await db.write(put("late"))
    with pytest.raises(StoreUnavailable, match="closed"):
        db.read("SELECT 1")
    with pytest.raises(StoreUnavailable, match="closed"):
        await db.query("SELECT 1")
    await db.close()
    reopened = SqliteDatabase(db.path)
    assert len(names(reopened)) == 20
    await reopened.close()


async def test_reading_cannot_write(db):
    with pytest.raises(StoreUnavailable):
        db.read("INSERT INTO meta VALUES ('x', 'y') RETURNING name")
    assert names(db) == set()


async def test_reads_are_safe_from_many_threads(db):
    await asyncio.gather(*(db.write(put(f"k{i}")) for i in range(50)))
    sql = "SELECT name FROM meta WHERE name <> 'epoch'"
    results = await asyncio.gather(*(asyncio.to_thread(db.read, sql) for _ in range(50)))
    assert all(len(rows) == 50 for rows in results)


async def test_wrong_sql_is_not_called_an_unavailable_store(db):
    with pytest.raises(Exception, match="no such table") as caught:
        db.read("SELECT * FROM nowhere")
    assert not isinstance(caught.value, StoreUnavailable)


# ---- the store in trouble


async def test_full_database_is_storage_full_and_works_again_with_room(db):
    await db.write(lambda tx: list(tx.execute("PRAGMA max_page_count = 100")))
    with pytest.raises(StorageFull):
        await db.write(put("big", "x" * 1_000_000))
    assert names(db) == set()
    await db.write(lambda tx: list(tx.execute("PRAGMA max_page_count = 100000")))
    await db.write(put("big", "x" * 1_000_000))
    assert names(db) == {"big"}


async def test_full_disk_is_storage_full_and_works_again_with_room(small_disk):
    db = SqliteDatabase(small_disk / "a.db")
    await db.write(put("a"))
    (small_disk / "filler").write_bytes(b"x" * 1_600_000)
    results = await asyncio.gather(
        *(db.write(put(f"k{i}", "x" * 200_000)) for i in range(8)), return_exceptions=True
    )
    assert any(isinstance(result, StorageFull) for result in results), results
    kept = {result for result in results if isinstance(result, str)}
    assert names(db) == {"a", *kept}
    (small_disk / "filler").unlink()
    await db.write(put("b"))
    assert names(db) == {"a", "b", *kept}
    await db.close()


async def test_database_locked_by_another_process_is_named_and_works_again(db, monkeypatch):
    monkeypatch.setattr("skerry.sql.connections.WRITER_BUSY_MS", 50)
    await db.write(put("a"))
    other = apsw.Connection(str(db.path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked") as caught:
        await db.write(put("b"))
    assert "fuser" in caught.value.remedy
    assert names(db) == {"a"}
    other.execute("ROLLBACK")
    other.close()
    await db.write(put("c"))
    assert names(db) == {"a", "c"}


def test_file_that_is_no_database_is_named_with_a_remedy(tmp_path):
    path = tmp_path / "a.db"
    path.write_bytes(b"not a database at all, just text" * 100)
    with pytest.raises(StoreUnavailable, match=r"a\.db is damaged") as caught:
        SqliteDatabase(path)
    assert "backup" in caught.value.remedy


async def test_damaged_pages_are_a_store_that_is_unavailable(tmp_path):
    db = SqliteDatabase(tmp_path / "a.db")
    await asyncio.gather(*(db.write(put(f"k{i}", "x" * 1000)) for i in range(200)))
    await db.close()
    with (tmp_path / "a.db").open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 500_000)
    with pytest.raises(StoreUnavailable, match="damaged"):
        broken = SqliteDatabase(tmp_path / "a.db")
        try:
            await broken.query("SELECT sum(length(value)) FROM meta")
        finally:
            await broken.close()


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="Cannot create the folder"):
        SqliteDatabase(tmp_path / "file" / "a.db")


def test_killed_process_loses_no_acknowledged_write(tmp_path):
    code = f"""
import asyncio
from pathlib import Path
from skerry.sql.sqlite import SqliteDatabase

async def main():
    db = SqliteDatabase(Path({str(tmp_path)!r}) / "a.db")
    async def one(i):
        await db.write(lambda tx: tx.execute("INSERT INTO meta VALUES (?, '')", (str(i),)))
        print(i, flush=True)
    for start in range(0, 100_000, 8):
        await asyncio.gather(*(one(start + i) for i in range(8)))

asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    acknowledged = [process.stdout.readline().strip() for _ in range(300)]
    process.kill()
    acknowledged += process.stdout.read().split()
    process.wait()
    process.stdout.close()
    db = SqliteDatabase(tmp_path / "a.db")
    assert set(acknowledged) <= names(db)
    assert db.read("PRAGMA integrity_check") == [("ok",)]
    asyncio.run(db.close())


# ---- backup


async def test_backup_is_a_whole_database_taken_while_writes_go_on(db, tmp_path):
    await asyncio.gather(*(db.write(put(f"k{i}", "x" * 1000)) for i in range(500)))
    copying = asyncio.create_task(db.backup(tmp_path / "copy.db"))
    await asyncio.gather(*(db.write(put(f"later{i}")) for i in range(50)))
    await copying
    copy = SqliteDatabase(tmp_path / "copy.db")
    assert {f"k{i}" for i in range(500)} <= names(copy)
    assert copy.read("PRAGMA integrity_check") == [("ok",)]
    await copy.close()
    assert not (tmp_path / "copy.db.partial").exists()


async def test_backup_never_overwrites_a_file(db, tmp_path):
    target = tmp_path / "copy.db"
    target.write_bytes(b"precious")
    with pytest.raises(Conflict):
        await db.backup(target)
    assert target.read_bytes() == b"precious"
    with pytest.raises(StoreUnavailable):
        await db.backup(Path("/nowhere/at/all.db"))
