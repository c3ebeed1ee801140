"""The contract of the database: synchronous reads that are cheap, writes that are acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Value = None | int | float | str | bytes
Row = tuple[Any, ...]


class Transaction(Protocol):
    """An open transaction, used in the writer's thread only."""

    def execute(self, sql: str, arguments: Sequence[Value] = ()) -> Iterator[Row]:
        """Run one statement; rows come lazily."""

    def last_id(self) -> int:
        """Rowid of the last insert."""


class Database(Protocol):
    """One database. Errors: StorageFull, StoreUnavailable (locked, corrupt, unreadable)."""

    @property
    def commits(self) -> int:
        """Commits since the start: equal counts, equal content."""

    def read(self, sql: str, arguments: Sequence[Value] = ()) -> list[Row]:
        """Read inline: for lookups by key or index that return few rows (microseconds)."""

    async def query(self, sql: str, arguments: Sequence[Value] = ()) -> list[Row]:
        """Read in a thread: for lists, counts and whatever may take milliseconds."""

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a transaction and return its result once it is synced to disk.

        Concurrent writes share one commit, each in a savepoint of its own: one that raises
        undoes only itself, and its caller gets the exception.
        """

    async def close(self) -> None:
        """Finish admitted writes and close."""
