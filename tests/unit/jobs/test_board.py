import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.errors import NotFound, StorageFull
from skerry.jobs.board import KEEP, Job, JobBoard, JobHandle
from skerry.sql.sqlite import SqliteDatabase


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "skerry.db")
    yield database
    await database.close()


@pytest.fixture
async def board(db: SqliteDatabase) -> AsyncIterator[JobBoard]:
    board = JobBoard(db)
    yield board
    await board.close()


async def ended(board: JobBoard, job: Job) -> Job:
    async with asyncio.timeout(5):
        while board.get(job.id).state == "running":  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    return board.get(job.id)


class Gate:
    """Work that goes on only when it is let."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()
        self.handle: JobHandle | None = None

    async def __call__(self, handle: JobHandle) -> None:
        self.handle = handle
        self.entered.set()
        await self.opened.wait()


async def test_job_runs_in_the_background_and_ends_as_done(board):
    gate = Gate()
    job = await board.start("reindex", gate, arguments={"model": "resnet50"})
    assert (job.state, job.arguments) == ("running", {"model": "resnet50"})
    await gate.entered.wait()
    gate.opened.set()
    assert (await ended(board, job)).state == "done"


async def test_progress_is_seen_at_once_and_kept_at_the_end(db, board):
    gate = Gate()
    job = await board.start("reindex", gate)
    await gate.entered.wait()
    await gate.handle.progress(3, total=10, message="third")
    seen = board.get(job.id)
    assert (seen.done, seen.total, seen.message) == (3, 10, "third")
    await gate.handle.progress(4)
    gate.opened.set()
    await ended(board, job)
    stored = JobBoard(db).get(job.id)
    assert (stored.state, stored.done, stored.total, stored.message) == ("done", 4, 10, "third")


async def test_progress_does_not_write_to_the_disk_each_time(db, board):
    gate = Gate()
    await board.start("reindex", gate)
    await gate.entered.wait()
    before = db.commits
    for done in range(1000):
        await gate.handle.progress(done)
    assert db.commits - before <= 3
    gate.opened.set()


async def test_failure_keeps_its_reason_and_harms_nobody_else(board):
    async def domain(handle):
        raise StorageFull("No space is left.")

    async def bug(handle):
        raise ZeroDivisionError("of mine")

    first, second = await board.start("a", domain), await board.start("b", bug)
    assert "No space" in (await ended(board, first)).message
    assert (await ended(board, second)).message == "ZeroDivisionError: of mine"
    assert {job.state for job in board.list()} == {"failed"}


async def test_cancelled_job_stops_before_cancel_returns(board):
    gate = Gate()
    job = await board.start("reindex", gate)
    await gate.entered.wait()
    assert (await board.cancel(job.id)).state == "cancelled"
    assert (await board.cancel(job.id)).state == "cancelled"


async def test_unknown_job_is_not_found(board):
    with pytest.raises(NotFound):
        board.get("nothing")
    with pytest.raises(NotFound):
        await board.cancel("nothing")


async def test_list_is_newest_first(board):
    gate = Gate()
    ids = []
    for _ in range(5):
        ids.append((await board.start("a", gate)).id)
        await asyncio.sleep(0.002)  # ids tell milliseconds apart
    assert [job.id for job in board.list()] == ids[::-1]


async def test_closing_interrupts_and_the_next_run_resumes_under_the_same_id(db):
    first = JobBoard(db)
    gate = Gate()
    job = await first.start("reindex", gate, arguments={"model": "m"})
    await gate.entered.wait()
    await gate.handle.progress(7, total=9)
    await first.close()
    second = JobBoard(db)
    await second.recover()
    assert second.get(job.id).state == "interrupted"
    again = Gate()
    resumed = await second.resume("reindex", again)
    assert (resumed.id, resumed.state, resumed.arguments) == (job.id, "running", {"model": "m"})
    await again.entered.wait()
    assert again.handle.job.done == 7
    again.opened.set()
    assert (await ended(second, resumed)).state == "done"
    assert await second.resume("reindex", again) is None


async def test_job_that_ran_at_a_crash_is_interrupted_at_the_next_start(db):
    await db.write(
        lambda tx: tx.execute(
            "INSERT INTO jobs (id, kind, state, created_at, updated_at) "
            "VALUES ('a', 'reindex', 'running', 1, 1)"
        )
    )
    board = JobBoard(db)
    await board.recover()
    assert board.get("a").state == "interrupted"
    assert await board.resume("other", Gate()) is None


async def test_old_jobs_are_forgotten_at_the_start(db):
    def fill(tx):
        for index in range(KEEP + 20):
            tx.execute(
                "INSERT INTO jobs (id, kind, state, created_at, updated_at) "
                "VALUES (?, 'a', 'done', ?, 1)",
                (f"{index:04}", index),
            )

    await db.write(fill)
    board = JobBoard(db)
    await board.recover()
    assert db.read("SELECT count(*), min(id) FROM jobs") == [(KEEP, "0020")]
