"""SQLite as the database: inline reads, reads in threads, and writes that share commits."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from weakref import WeakSet

import apsw

from skerry.errors import Conflict, StorageFull, StoreUnavailable
from skerry.sql.base import Row, Transaction, Value
from skerry.sql.connections import DISK_FULL, connect_reader, raise_explained
from skerry.sql.migrate import MIGRATIONS, migrate
from skerry.sql.writer import Writer

T = TypeVar("T")


class SqliteDatabase:
    """The `Database` over one file in WAL mode; the constructor brings its schema up to date.

    Each thread that reads has a connection of its own, so `read` may be called from any thread.
    Raises StoreUnavailable when the file is locked, damaged, unreadable or of a newer format, and
    StorageFull when the disk is; either leaves the database usable once the cause is gone.
    """

    def __init__(
        self, path: Path, *, migrations: Path = MIGRATIONS, max_queue: int = 1024, threads: int = 4
    ) -> None:
        self.path = path
        migrate(path, migrations=migrations)
        self._closed = False
        self._local = threading.local()
        self._readers: WeakSet[apsw.Connection] = WeakSet()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="sql-reader")
        self._writer = Writer(path, max_queue=max_queue)

    @property
    def commits(self) -> int:
        """Commits since the start: fewer than writes when concurrent ones were joined."""
        return self._writer.commits

    def read(self, sql: str, arguments: Sequence[Value] = ()) -> list[Row]:
        """Read inline: for lookups by key or index that return few rows (microseconds)."""
        connection: apsw.Connection | None = None
        try:
            connection = self._reader()
            return connection.execute(sql, arguments).fetchall()
        except apsw.Error as error:
            raise_explained(error, self.path, connection=connection)

    async def query(self, sql: str, arguments: Sequence[Value] = ()) -> list[Row]:
        """Read in a thread: for lists, counts and whatever may take milliseconds."""
        self._refuse_closed()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self.read, sql, arguments)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in the writer's thread; return its result once it is synced to disk.

        Raises Overloaded when too many writes wait. A caller that is cancelled before its work
        began takes it back; after that the work may still be committed.
        """
        return await self._writer.submit(work)

    async def backup(self, target: Path) -> None:
        """Copy the database as it stands to the new file `target`, synced, while writes go on."""
        self._refuse_closed()
        await asyncio.get_running_loop().run_in_executor(self._pool, self._copy, target)

    async def close(self) -> None:
        """Finish admitted writes and close."""
        await asyncio.to_thread(self._close)

    def _reader(self) -> apsw.Connection:
        self._refuse_closed()
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect_reader(self.path)
            self._readers.add(connection)
        return connection

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"The database {self.path} is closed.")

    def _copy(self, target: Path) -> None:
        if target.exists():
            raise Conflict(f"The file {target} is already there.", remedy="Name a new file.")
        partial = target.with_name(target.name + ".partial")
        try:
            self._copy_pages(partial)
            partial.rename(target)
        except OSError as error:
            failure = StorageFull if error.errno in DISK_FULL else StoreUnavailable
            raise failure(f"Cannot write the backup {target}: {error.strerror}.") from error
        finally:
            partial.unlink(missing_ok=True)

    def _copy_pages(self, partial: Path) -> None:
        partial.unlink(missing_ok=True)
        try:
            copy = apsw.Connection(str(partial))
            try:
                with copy.backup("main", self._reader(), "main") as backup:
                    backup.step(-1)
                copy.pragma("journal_mode", "delete")
            finally:
                copy.close()
        except apsw.Error as error:
            raise_explained(error, partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())

    def _close(self) -> None:
        self._closed = True
        self._pool.shutdown()
        self._writer.close()
        for connection in list(self._readers):
            with suppress(apsw.Error):  # a thread still reads through it: it closes when freed
                connection.close()
