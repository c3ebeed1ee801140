"""Keys in the data folder of a node that is not running: the way to the first one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from skerry.cli.http import settings as settings_of
from skerry.cli.options import Options
from skerry.cli.output import note, one_line

if TYPE_CHECKING:
    from skerry.auth.keys import Key as StoredKey
    from skerry.auth.keys import KeyRing
    from skerry.client.answers import CreatedKey, Key

T = TypeVar("T")


class OfflineKeys:
    """The calls of `Client.keys`, made on the data folder under its lock.

    Each raises StoreUnavailable when a node holds the folder.
    """

    def __init__(self, options: Options) -> None:
        self._settings = settings_of(options)
        note(f"No node answers; using the data folder {one_line(self._settings.data_folder)}.")

    def create(self, name: str, *, scope: str, expires_at: int | None = None) -> CreatedKey:
        """A new key and its secret."""
        from skerry.client.answers import CreatedKey

        made = self._with(
            lambda ring: ring.create(name, scope=cast("Any", scope), expires_at=expires_at)
        )
        return CreatedKey(_answer(made[0]), made[1])

    def list(self) -> list[Key]:
        """All keys, revoked ones too."""

        async def read(ring: KeyRing) -> list[StoredKey]:
            return ring.list()

        return [_answer(key) for key in self._with(read)]

    def revoke(self, key_id: str) -> None:
        """End the key of this id or name."""
        self._with(lambda ring: ring.revoke(key_id))

    def _with(self, work: Callable[[KeyRing], Awaitable[T]]) -> T:
        from skerry.auth.keys import KeyRing
        from skerry.node.folder import lock_folder
        from skerry.sql.sqlite import SqliteDatabase

        async def run() -> T:
            database = SqliteDatabase(folder / "skerry.db")
            try:
                return await work(KeyRing(database))
            finally:
                await database.close()

        folder = self._settings.data_folder
        lock = lock_folder(folder)
        try:
            return asyncio.run(run())
        finally:
            os.close(lock)


def _answer(key: StoredKey) -> Key:
    from skerry.client.answers import Key

    return Key(
        id=key.id,
        name=key.name,
        scope=key.scope,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
    )
