"""Long work: started, watched, cancelled, and named as interrupted when the node ended first."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from skerry.errors import NotFound, ServiceUnavailable, SkerryError, StorageFull
from skerry.sql.base import Database, Row, Transaction, Value

log = logging.getLogger(__name__)

State = Literal["running", "done", "failed", "cancelled", "interrupted"]

COLUMNS = "id, kind, state, done, total, message, arguments, created_at, updated_at"
SELECT = f"SELECT {COLUMNS} FROM jobs"  # noqa: S608

STORE_EVERY_S = 1.0
LIST_LIMIT = 100
KEEP = 500
CANCEL_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Job:
    """Work as it stands: `done` of `total` steps (0: not known); times in Unix seconds."""

    id: str
    kind: str
    state: State
    done: int
    total: int
    message: str
    arguments: Mapping[str, Value]
    created_at: int
    updated_at: int


Work = Callable[["JobHandle"], Awaitable[object]]


@dataclass(slots=True, eq=False)
class JobHandle:
    """A running job as its work sees it."""

    job: Job
    _db: Database
    _stored_at: float = field(default_factory=time.monotonic)
    _cancelled: bool = False

    async def progress(
        self, done: int, *, total: int | None = None, message: str | None = None
    ) -> None:
        """Say how far the work is: seen at once, written down once a second at most."""
        self.job = replace(
            self.job,
            done=done,
            total=self.job.total if total is None else total,
            message=self.job.message if message is None else message,
            updated_at=int(time.time()),
        )
        if time.monotonic() - self._stored_at >= STORE_EVERY_S:
            self._stored_at = time.monotonic()
            await self._store(self.job)

    async def _finish(self, state: State, message: str | None = None) -> None:
        said = self.job.message if message is None else message
        ended = replace(self.job, state=state, message=said, updated_at=int(time.time()))
        # Written first: who sees that the job has ended sees it after a restart too.
        await self._store(ended)
        self.job = ended

    async def _store(self, job: Job) -> None:
        try:
            await self._db.write(lambda tx: _put(tx, job))
        except (ServiceUnavailable, StorageFull) as error:
            # The work itself is worth more than the note of how far it is.
            log.warning("The state of job %s is not written down: %s", job.id, error.message)


class JobBoard:
    """The jobs of this node, in memory while they run, in the database always."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._running: dict[str, tuple[JobHandle, asyncio.Task[None]]] = {}

    async def recover(self) -> None:
        """At the start: what ran when the node ended is interrupted; old jobs are forgotten."""
        await self._db.write(_interrupt_and_prune)

    async def start(
        self, kind: str, work: Work, *, arguments: Mapping[str, Value] | None = None
    ) -> Job:
        """Run `work` in the background; `arguments` are kept for whoever resumes it."""
        now = int(time.time())
        # Ids sort by time, to the millisecond.
        job_id = f"{time.time_ns() // 1_000_000:011x}{secrets.token_hex(2)}"
        job = Job(job_id, kind, "running", 0, 0, "", dict(arguments or {}), now, now)
        await self._db.write(lambda tx: _put(tx, job))
        return self._launch(job, work)

    async def resume(self, kind: str, work: Work) -> Job | None:
        """Run the newest interrupted job of this kind again, under its id; None without one."""
        found = [job for job in self.list() if (job.kind, job.state) == (kind, "interrupted")]
        if not found:
            return None
        job = replace(found[0], state="running", message="", updated_at=int(time.time()))
        await self._db.write(lambda tx: _put(tx, job))
        return self._launch(job, work)

    def list(self) -> list[Job]:
        """The latest jobs, newest first."""
        rows = self._db.read(f"{SELECT} ORDER BY created_at DESC, id DESC LIMIT ?", (LIST_LIMIT,))
        return [self._current(_job(row)) for row in rows]

    def get(self, job_id: str) -> Job:
        """The job as it stands; NotFound."""
        rows = self._db.read(f"{SELECT} WHERE id = ?", (job_id,))
        if not rows:
            raise NotFound(f"There is no job '{job_id[:40]}'.", remedy="See: skerry jobs list")
        return self._current(_job(rows[0]))

    async def cancel(self, job_id: str) -> Job:
        """Stop the job; one that has ended stays as it is. NotFound."""
        handle, task = self._running.get(job_id, (None, None))
        if handle is not None and task is not None:
            handle._cancelled = True
            task.cancel()
            await asyncio.wait([task], timeout=CANCEL_WAIT_S)
        return self.get(job_id)

    async def close(self) -> None:
        """Stop what runs; it is interrupted, not cancelled."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _launch(self, job: Job, work: Work) -> Job:
        handle = JobHandle(job, self._db)
        task = asyncio.create_task(self._run(handle, work), name=f"job {job.kind} {job.id}")
        self._running[job.id] = (handle, task)
        return job

    async def _run(self, handle: JobHandle, work: Work) -> None:
        try:
            await work(handle)
        except asyncio.CancelledError:
            await handle._finish("cancelled" if handle._cancelled else "interrupted")
        except SkerryError as error:
            log.error("Job %s (%s) failed: %s", handle.job.id, handle.job.kind, error.message)
            await handle._finish("failed", f"{error.message} {error.remedy}".strip())
        except Exception as error:  # whatever the work raises ends this job, not the node
            log.exception("Job %s (%s) failed", handle.job.id, handle.job.kind)
            await handle._finish("failed", f"{type(error).__name__}: {error}")
        else:
            await handle._finish("done")
        finally:
            del self._running[handle.job.id]

    def _current(self, stored: Job) -> Job:
        running = self._running.get(stored.id)
        return running[0].job if running else stored


def _job(row: Row) -> Job:
    values = list(row)
    values[6] = msgspec.json.decode(values[6])
    return Job(*values)


def _put(tx: Transaction, job: Job) -> None:
    tx.execute(
        f"INSERT OR REPLACE INTO jobs ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        (
            job.id, job.kind, job.state, job.done, job.total, job.message,
            msgspec.json.encode(job.arguments).decode(), job.created_at, job.updated_at,
        ),
    )  # fmt: skip


def _interrupt_and_prune(tx: Transaction) -> None:
    tx.execute("UPDATE jobs SET state = 'interrupted' WHERE state = 'running'")
    tx.execute(
        "DELETE FROM jobs WHERE id NOT IN "
        "(SELECT id FROM jobs ORDER BY created_at DESC, id DESC LIMIT ?)",
        (KEEP,),
    )
