"""Bring a database's schema up to date, one numbered file and one transaction at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from skerry.errors import StorageFull, StoreUnavailable
from skerry.sql.connections import (
    ACCESS_REMEDY,
    DISK_FULL,
    connect_writer,
    raise_explained,
    run_script,
)

MIGRATIONS = Path(__file__).parent / "migrations"
APPLICATION_ID = 0x534B5259
"""`SKRY`: marks a file as ours, so that another program's database is never migrated."""


def migrate(path: Path, *, migrations: Path = MIGRATIONS) -> None:
    """Create or upgrade the database at `path`.

    Raises StoreUnavailable when it is of a newer format or another program's.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        failure = StorageFull if error.errno in DISK_FULL else StoreUnavailable
        message = f"Cannot create the folder {path.parent}: {error.strerror}."
        raise failure(message, remedy=ACCESS_REMEDY) from error
    connection: apsw.Connection | None = None
    try:
        connection = connect_writer(path)
        _upgrade(connection, path, _numbered(migrations))
    except apsw.Error as error:
        raise_explained(error, path, connection=connection)
    finally:
        if connection is not None:
            connection.close()


def _numbered(migrations: Path) -> dict[int, Path]:
    files = {int(file.name[:4]): file for file in migrations.glob("[0-9]*_*.sql")}
    return dict(sorted(files.items()))


def _upgrade(connection: apsw.Connection, path: Path, files: dict[int, Path]) -> None:
    latest = max(files)
    present = _checked_version(connection, path, latest=latest)
    if present == latest:
        return
    for number, file in files.items():
        with _transaction(connection):
            # Asked again under the lock: another process may have done this step meanwhile.
            if _checked_version(connection, path, latest=latest) < number:
                run_script(connection, file.read_text("utf-8"))
                run_script(connection, f"PRAGMA user_version = {number}")
                run_script(connection, f"PRAGMA application_id = {APPLICATION_ID}")


def _checked_version(connection: apsw.Connection, path: Path, *, latest: int) -> int:
    version = int(connection.pragma("user_version"))
    is_empty = not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    if not is_empty and connection.pragma("application_id") != APPLICATION_ID:
        raise StoreUnavailable(
            f"The file {path} is another program's database.", remedy="Choose another data folder."
        )
    if version > latest:
        raise StoreUnavailable(
            f"The database {path} has format {version}; this version of Skerry reads up to "
            f"{latest}.",
            remedy="Install the newer Skerry that wrote it, or restore an older backup.",
        )
    return version


@contextmanager
def _transaction(connection: apsw.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # On a full disk SQLite may have rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
