"""One thread that writes: what waits in its queue shares one commit and one sync to disk."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import apsw

from skerry.errors import Overloaded, StoreUnavailable
from skerry.sql.base import Row, Value
from skerry.sql.connections import BROKEN, connect_writer, explain

T = TypeVar("T")

MAX_BATCH = 256


@dataclass(frozen=True, slots=True)
class SqliteTransaction:
    """The open transaction as `work` sees it."""

    connection: apsw.Connection

    def execute(self, sql: str, arguments: Sequence[Value] = ()) -> Iterator[Row]:
        """Run one statement; rows come lazily."""
        return self.connection.execute(sql, arguments)

    def last_id(self) -> int:
        """Rowid of the last insert."""
        return self.connection.last_insert_rowid()


@dataclass(slots=True, eq=False)
class _Write:
    work: Callable[[SqliteTransaction], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None

    def settle(self) -> None:
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Writer:
    """Runs works in the order they came, each in a savepoint, many to a commit."""

    def __init__(self, path: Path, *, max_queue: int) -> None:
        """Start the thread; it opens its connection with the first work."""
        self.path = path
        self.commits = 0
        self._queue: queue.Queue[_Write | None] = queue.Queue(max_queue)
        self._connection: apsw.Connection | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="sql-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[SqliteTransaction], T]) -> asyncio.Future[T]:
        """Queue `work`; the future has its result once the commit has been synced."""
        if self._closing:
            raise StoreUnavailable(f"The database {self.path} is closed.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        try:
            self._queue.put_nowait(_Write(work, loop, future))
        except queue.Full:
            raise Overloaded("Too many writes wait for the database.", retry_after_s=1.0) from None
        return future

    def close(self) -> None:
        """Refuse new work, finish what was admitted and end the thread; blocks."""
        if not self._closing:
            self._closing = True
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while self._run_batch():
            pass
        self._disconnect()

    def _run_batch(self) -> bool:
        batch = self._next_batch()
        if batch:
            self._commit(batch)
        for write in batch:
            with suppress(RuntimeError):  # the loop that waited is closed: nobody to tell
                write.loop.call_soon_threadsafe(write.settle)
        return bool(batch)

    def _next_batch(self) -> list[_Write]:
        """What waits now, in order; empty when the writer is to end."""
        batch: list[_Write] = []
        with suppress(queue.Empty):
            while len(batch) < MAX_BATCH:
                write = self._queue.get(block=not batch)
                if write is None:
                    if batch:  # finish these first, then meet the end again
                        self._queue.put(None)
                    break
                batch.append(write)
        return batch

    def _commit(self, batch: list[_Write]) -> None:
        try:
            if self._connection is None:
                self._connection = connect_writer(self.path)
            self._connection.execute("BEGIN IMMEDIATE")
            for write in batch:
                self._attempt(write, self._connection)
            self._connection.execute("COMMIT")
            self.commits += 1
        except Exception as error:  # fail this batch, keep writing for the next
            explained = self._explain(error)
            for write in batch:
                write.error = write.error or explained
            self._recover(error)

    def _attempt(self, write: _Write, connection: apsw.Connection) -> None:
        if write.future.cancelled():
            return
        connection.execute("SAVEPOINT work")
        try:
            write.result = write.work(SqliteTransaction(connection))
        except Exception as error:  # it belongs to the caller of this work alone
            if not connection.in_transaction:
                raise  # SQLite has undone the whole batch, as it may on a full disk
            write.error = self._explain(error)
            connection.execute("ROLLBACK TO work")
        connection.execute("RELEASE work")

    def _explain(self, error: Exception) -> Exception:
        if not isinstance(error, apsw.Error):
            return error
        explained = explain(error, self.path, connection=self._connection)
        if explained is None:
            return error
        explained.__cause__ = error
        return explained

    def _recover(self, error: Exception) -> None:
        """Leave the connection fit for the next batch, or drop it for a new one."""
        try:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error:
            self._disconnect()
        if isinstance(error, BROKEN):
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(apsw.Error):  # a broken connection has nothing left to save
                self._connection.close(True)
            self._connection = None
