"""The table of embedding spaces: which model's vectors are searched, which are being made."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Literal

from skerry.errors import Conflict, NotFound, SpaceMismatch
from skerry.sql.base import Database, Row, Transaction

COLUMNS = "name, model, size, state, created_at"
REMOVE_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Space:
    """Vectors of `size` floats that can be compared; `model` gave them."""

    name: str
    model: str
    size: int
    state: Literal["filling", "active", "retired"]
    created_at: int


class SpaceTable:
    """At most one space is active: the one that is searched."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def active(self) -> Space | None:
        """The space that is searched; None before the first model."""
        rows = self._db.read(f"SELECT {COLUMNS} FROM spaces WHERE state = 'active'")
        return Space(*rows[0]) if rows else None

    def get(self, name: str) -> Space | None:
        """The space of this name."""
        rows = self._db.read(f"SELECT {COLUMNS} FROM spaces WHERE name = ?", (name,))
        return Space(*rows[0]) if rows else None

    def all(self) -> list[Space]:
        """All spaces, oldest first."""
        rows = self._db.read(f"SELECT {COLUMNS} FROM spaces ORDER BY created_at, name")
        return [Space(*row) for row in rows]

    async def add(self, name: str, *, model: str, size: int) -> Space:
        """Begin the space, or go on with one that was begun; SpaceMismatch for another size.

        The first space is active at once, the others fill until `activate`.
        """
        rows = await self._db.write(lambda tx: _add(tx, name, model, size))
        space = Space(*rows[0])
        if space.size != size:
            raise SpaceMismatch(f"The space '{name}' has vectors of {space.size}, not {size}.")
        return space

    async def activate(self, name: str) -> Space:
        """Search this space from now on and retire the one before it, in one step."""
        rows = await self._db.write(lambda tx: _activate(tx, name))
        if not rows:
            raise NotFound(f"There is no embedding space '{name}'.")
        return Space(*rows[0])

    async def remove(self, name: str) -> None:
        """Delete the space and its vectors; Conflict when it is the active one."""
        space = self.get(name)
        if space is not None and space.state == "active":
            raise Conflict(f"The space '{name}' is in use.", remedy="Activate another one first.")
        last_id: int | None = 0
        while last_id is not None:  # in chunks, so that other writes are not kept waiting
            last_id = await self._db.write(partial(_remove_vectors, name=name, after_id=last_id))
        await self._db.write(lambda tx: tx.execute("DELETE FROM spaces WHERE name = ?", (name,)))


def _add(tx: Transaction, name: str, model: str, size: int) -> list[Row]:
    tx.execute(
        "INSERT INTO spaces SELECT ?, ?, ?, "
        "iif(EXISTS (SELECT 1 FROM spaces WHERE state = 'active'), 'filling', 'active'), ? "
        "WHERE true ON CONFLICT (name) DO NOTHING",
        (name, model, size, int(time.time())),
    )
    return list(tx.execute(f"SELECT {COLUMNS} FROM spaces WHERE name = ?", (name,)))


def _activate(tx: Transaction, name: str) -> list[Row]:
    if not list(tx.execute("SELECT 1 FROM spaces WHERE name = ?", (name,))):
        return []
    tx.execute("UPDATE spaces SET state = 'retired' WHERE state = 'active' AND name <> ?", (name,))
    return list(
        tx.execute(
            f"UPDATE spaces SET state = 'active' WHERE name = ? RETURNING {COLUMNS}",
            (name,),
        )
    )


def _remove_vectors(tx: Transaction, *, name: str, after_id: int) -> int | None:
    removed = tx.execute(
        "DELETE FROM embeddings WHERE rowid IN (SELECT rowid FROM embeddings "
        "WHERE kind = 'image' AND item_id > ? AND space = ? ORDER BY item_id LIMIT ?) "
        "RETURNING item_id",
        (after_id, name, REMOVE_CHUNK),
    )
    return max((row[0] for row in removed), default=None)
