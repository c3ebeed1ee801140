"""Values in an SQLite file: they survive a restart and are shared by the processes of one box."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import apsw
import msgspec

from skerry.errors import StorageFull, StoreUnavailable
from skerry.kv.base import Lease
from skerry.kv.values import add_to, check_ttl, check_value, encode_key

T = TypeVar("T")

FILE_NAME = "kv.db"
WRITE_BUSY_MS = 5_000
# Reads run on the event loop: a lock held elsewhere must not cost seconds.
READ_BUSY_MS = 250
SWEEP_EVERY_S = 30.0
SWEEP_ROWS = 1_000
EVICT_ROWS = 64

SCHEMA = """
PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 16777216;
CREATE TABLE IF NOT EXISTS items (
    key BLOB PRIMARY KEY, value BLOB NOT NULL, expires_at REAL
) STRICT;
CREATE INDEX IF NOT EXISTS items_by_expiry ON items (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS locks (
    name BLOB PRIMARY KEY, token INTEGER NOT NULL, expires_at REAL NOT NULL
) STRICT;
"""
GET = "SELECT value, expires_at FROM items WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)"
PUT = "INSERT OR REPLACE INTO items (key, value, expires_at) VALUES (?, ?, ?)"
MATCHING = "key >= ? AND key < ? AND (expires_at IS NULL OR expires_at > ?)"
SWEEP = """
DELETE FROM items WHERE rowid IN (SELECT rowid FROM items WHERE expires_at <= ? LIMIT ?)
"""
EVICT = """
DELETE FROM items WHERE rowid IN (
    SELECT rowid FROM items WHERE expires_at IS NOT NULL ORDER BY expires_at LIMIT ?)
RETURNING 1
"""
# The row stays when a lock is given back: its token must go on growing.
ACQUIRE = """
INSERT INTO locks VALUES (?1, 1, ?2)
ON CONFLICT (name) DO UPDATE SET token = token + 1, expires_at = ?2 WHERE expires_at <= ?3
RETURNING token
"""
RELEASE = """
UPDATE locks SET expires_at = 0 WHERE name = ? AND token = ? AND expires_at > ? RETURNING 1
"""


class SqliteOptions(msgspec.Struct, forbid_unknown_fields=True):
    """Keys of the table in skerry.toml."""

    max_bytes: int = 256 << 20
    """Bound on the file. To make room, values with a time to live go, those that end soonest
    first; a value without one stays, and what does not fit beside those is refused."""
    max_value_bytes: int = 16 << 20


class SqliteStore:
    """A `KeyValueStore` of one box; `<folder>/kv.db`.

    A write that was answered survives the end of the process, not a loss of power a moment later.
    """

    Options = SqliteOptions
    shared = "box"

    def __init__(self, options: SqliteOptions, *, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._options = options
        self._closed = False
        self._swept_at = time.monotonic()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kv-writer")
        with self._explained():
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = self._connect(WRITE_BUSY_MS)
            _run(self._writer, SCHEMA)
            page_bytes = int(self._writer.pragma("page_size"))
            _run(self._writer, f"PRAGMA max_page_count = {options.max_bytes // page_bytes}")
            self._reader = self._connect(READ_BUSY_MS)

    async def get(self, key: str) -> bytes | None:
        """The value, or None when absent or expired."""
        with self._explained():
            rows = _run(self._reader, GET, (encode_key(key), time.time()))
        return rows[0][0] if rows else None

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        """Store; StorageFull when `max_bytes` is taken by values without a time to live."""
        row = self._row(key, value, ttl_s)
        await self._write(lambda db: _run(db, PUT, row))

    async def delete(self, key: str) -> bool:
        """Remove; True when it was there."""
        sql = "DELETE FROM items WHERE key = ? RETURNING expires_at IS NULL OR expires_at > ?"
        arguments = (encode_key(key), time.time())
        return (1,) in await self._write(lambda db: _run(db, sql, arguments))

    async def keys(self, prefix: str = "") -> list[str]:
        """Live keys that start with `prefix`, sorted."""
        sql = f"SELECT key FROM items WHERE {MATCHING} ORDER BY key"  # noqa: S608
        rows = await self._in_thread(lambda db: _run(db, sql, _matching(prefix)))
        return sorted(row[0].decode() for row in rows)

    async def increment(self, key: str, by: int = 1) -> int:
        """Add atomically, among processes too; the time to live stays as it was."""
        encoded = encode_key(key)

        def add(db: apsw.Connection) -> int:
            rows = _run(db, GET, (encoded, time.time()))
            value, expires_at = rows[0] if rows else (None, None)
            total = add_to(value, by)
            _run(db, PUT, (encoded, str(total).encode(), expires_at))
            return total

        return await self._write(add)

    async def compare_and_set(
        self, key: str, *, expected: bytes | None, value: bytes, ttl_s: float | None = None
    ) -> bool:
        """Store only when the present value is `expected`; True when stored."""
        row = self._row(key, value, ttl_s)

        def swap(db: apsw.Connection) -> bool:
            rows = _run(db, GET, (row[0], time.time()))
            if (rows[0][0] if rows else None) != expected:
                return False
            _run(db, PUT, row)
            return True

        return await self._write(swap)

    async def acquire(self, name: str, *, ttl_s: float) -> Lease | None:
        """Take the lock `name` among the processes of this box, or None when another holds it."""
        check_ttl(ttl_s)
        encoded = encode_key(name)

        def take(db: apsw.Connection) -> list[tuple[Any, ...]]:
            now = time.time()
            return _run(db, ACQUIRE, (encoded, now + ttl_s, now))

        rows = await self._write(take)
        return Lease(name, rows[0][0]) if rows else None

    async def release(self, lease: Lease) -> bool:
        """Give the lock back; False when it had expired or passed to another."""
        arguments = (encode_key(lease.name), lease.token, time.time())
        return bool(await self._write(lambda db: _run(db, RELEASE, arguments)))

    async def clear(self, prefix: str = "") -> int:
        """Delete the keys that start with `prefix`; how many."""
        sql = f"DELETE FROM items WHERE {MATCHING} RETURNING 1"  # noqa: S608
        return len(await self._write(lambda db: _run(db, sql, _matching(prefix))))

    async def close(self) -> None:
        """Finish what was begun and close the file."""
        await asyncio.to_thread(self._thread.shutdown)
        self._closed = True
        self._reader.close()
        self._writer.close()

    def _row(self, key: str, value: bytes, ttl_s: float | None) -> tuple[bytes, bytes, Any]:
        check_ttl(ttl_s)
        # A value near the file's bound would push out everything else and still not fit.
        limit = min(self._options.max_value_bytes, self._options.max_bytes // 4)
        check_value(value, max_bytes=limit)
        return encode_key(key), bytes(value), None if ttl_s is None else time.time() + ttl_s

    async def _write(self, work: Callable[[apsw.Connection], T]) -> T:
        return await self._in_thread(lambda db: self._commit(work))

    async def _in_thread(self, work: Callable[[apsw.Connection], T]) -> T:
        if self._closed:
            self._refuse_closed()
        with self._explained():
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, work, self._writer)

    def _commit(self, work: Callable[[apsw.Connection], T]) -> T:
        self._sweep()
        while True:
            try:
                with _transaction(self._writer):
                    return work(self._writer)
            except apsw.FullError:
                if not _run(self._writer, EVICT, (EVICT_ROWS,)):
                    raise

    def _sweep(self) -> None:
        if time.monotonic() - self._swept_at < SWEEP_EVERY_S:
            return
        self._swept_at = time.monotonic()
        _run(self._writer, SWEEP, (time.time(), SWEEP_ROWS))

    def _connect(self, busy_ms: int) -> apsw.Connection:
        connection = apsw.Connection(str(self.path))
        connection.set_busy_timeout(busy_ms)
        return connection

    def _refuse_closed(self) -> NoReturn:
        raise StoreUnavailable(f"The key-value store {self.path} is closed.")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except apsw.FullError as error:
            raise StorageFull(
                f"The key-value store {self.path} is full.",
                remedy="Raise max_bytes, give values a time to live, or free the disk.",
            ) from error
        except apsw.ConnectionClosedError:
            self._refuse_closed()
        except (apsw.Error, OSError) as error:
            raise StoreUnavailable(
                f"The key-value store {self.path} cannot be used: {error}.",
                remedy="End who locks it, or move a damaged file away: it is made anew.",
            ) from error


def _run(db: apsw.Connection, sql: str, arguments: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    # To the end: apsw stops at the first row otherwise, and later statements never run.
    return db.execute(sql, arguments or None).fetchall()


@contextmanager
def _transaction(db: apsw.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # On a full disk SQLite may have rolled back by itself.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _matching(prefix: str) -> tuple[bytes, bytes, float]:
    encoded = encode_key(prefix)
    # UTF-8 has no byte 0xff: it bounds the keys of a prefix from above.
    return encoded, encoded + b"\xff", time.time()
