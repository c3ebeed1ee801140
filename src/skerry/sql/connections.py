"""Open SQLite connections, and say in plain words why one cannot be used."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import NoReturn

import apsw

from skerry.errors import SkerryError, StorageFull, StoreUnavailable

WRITER_BUSY_MS = 5_000
# `Database.read` runs on the event loop: there, a lock held elsewhere must not cost seconds.
READER_BUSY_MS = 250
WAL_LIMIT_BYTES = 64 << 20

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
BROKEN = (apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError)

LOCKED_REMEDY = "End the other process that holds it; 'fuser' on the file names it."
DAMAGED_REMEDY = "Restore the last backup, or move the file away to start empty."
ACCESS_REMEDY = "Check that the data folder exists and that this user may write to it."
DISK_REMEDY = "Check the disk's health and the system log, then try again."


def connect_writer(path: Path) -> apsw.Connection:
    """Open for writing, creating the file; a commit has been synced when it returns."""
    connection = _connect(path, busy_ms=WRITER_BUSY_MS)
    run_script(
        connection,
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
        # Without it INSERT OR REPLACE evicts rows that no delete trigger sees.
        "PRAGMA recursive_triggers = ON;"
        f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}",
    )
    return connection


def connect_reader(path: Path) -> apsw.Connection:
    """Open for reading; a write through it is refused by SQLite."""
    connection = _connect(path, busy_ms=READER_BUSY_MS)
    run_script(connection, "PRAGMA query_only = ON")
    return connection


def run_script(connection: apsw.Connection, script: str) -> None:
    """Run every statement of `script`: apsw stops at the first row of one not read to its end."""
    for _ in connection.execute(script):
        pass


def explain(
    error: apsw.Error, path: Path, *, connection: apsw.Connection | None = None
) -> SkerryError | None:
    """The domain error that `error` on the database at `path` means; None for a programming error.

    The connection knows the system's reason, which tells a full disk from a failing one.
    """
    match error:
        case apsw.FullError():
            return StorageFull(f"No space is left for the database {path}.")
        case apsw.IOError() if _system_errno(connection) in DISK_FULL:
            return StorageFull(f"No space is left for the database {path}.")
        case apsw.BusyError() | apsw.LockedError():
            reason, remedy = "is locked by another process", LOCKED_REMEDY
        case apsw.CorruptError() | apsw.NotADBError():
            reason, remedy = "is damaged or not a database", DAMAGED_REMEDY
        case apsw.CantOpenError() | apsw.ReadOnlyError() | apsw.PermissionsError():
            reason, remedy = "cannot be opened for writing", ACCESS_REMEDY
        case apsw.IOError():
            reason, remedy = "cannot be read or written by the system", DISK_REMEDY
        case _:
            return None
    return StoreUnavailable(f"The database {path} {reason}: {error}.", remedy=remedy)


def raise_explained(
    error: apsw.Error, path: Path, *, connection: apsw.Connection | None = None
) -> NoReturn:
    """Raise the domain error for `error`, or `error` itself when it is a programming error."""
    explained = explain(error, path, connection=connection)
    if explained is None:
        raise error
    raise explained from error


def _connect(path: Path, *, busy_ms: int) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(busy_ms)
    return connection


def _system_errno(connection: apsw.Connection | None) -> int:
    try:
        return connection.system_errno if connection is not None else 0
    except apsw.ConnectionClosedError:
        return 0
