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
Kind = Literal["image", "chunk"]


@dataclass(frozen=True, slots=True)
class Space:
    """Vectors of `size` floats that can be compared; `model` gave them."""

    name: str
    model: str
    size: int
    state: Literal["filling", "active", "retired"]
    created_at: int


class SpaceTable:
    """The spaces of one kind of item; at most one is active: the one that is searched."""

    def __init__(self, db: Database, kind: Kind = "image") -> None:
        self.kind: Kind = kind
        self._db = db

    def active(self) -> Space | None:
        """The space that is searched; None before the first model."""
        rows = self._db.read(
            f"SELECT {COLUMNS} FROM spaces WHERE kind = ? AND state = 'active'", (self.kind,)
        )
        return Space(*rows[0]) if rows else None

    def get(self, name: str) -> Space | None:
        """The space of this name."""
        rows = self._db.read(
            f"SELECT {COLUMNS} FROM spaces WHERE name = ? AND kind = ?", (name, self.kind)
        )
        return Space(*rows[0]) if rows else None

    def all(self) -> list[Space]:
        """All spaces, oldest first."""
        rows = self._db.read(
            f"SELECT {COLUMNS} FROM spaces WHERE kind = ? ORDER BY created_at, name", (self.kind,)
        )
        return [Space(*row) for row in rows]

    async def add(self, name: str, *, model: str, size: int) -> Space:
        """Begin the space, or go on with one that was begun.

        Raises SpaceMismatch for another size, or when the name is that of another kind's space.

        The first space is active at once, the others fill until `activate`.
        """
        rows = await self._db.write(lambda tx: _add(tx, self.kind, name, model, size))
        if not rows:
            raise SpaceMismatch(f"The space '{name}' holds vectors of another kind of item.")
        space = Space(*rows[0])
        if space.size != size:
            raise SpaceMismatch(f"The space '{name}' has vectors of {space.size}, not {size}.")
        return space

    async def activate(self, name: str) -> Space:
        """Search this space from now on and retire the one before it, in one step."""
        rows = await self._db.write(lambda tx: _activate(tx, self.kind, name))
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
            last_id = await self._db.write(
                partial(_remove_vectors, kind=self.kind, name=name, after_id=last_id)
            )
        await self._db.write(
            lambda tx: tx.execute(
                "DELETE FROM spaces WHERE name = ? AND kind = ?", (name, self.kind)
            )
        )


def _add(tx: Transaction, kind: Kind, name: str, model: str, size: int) -> list[Row]:
    tx.execute(
        f"INSERT INTO spaces ({COLUMNS}, kind) SELECT ?, ?, ?, iif(EXISTS (SELECT 1 FROM spaces "
        "WHERE kind = ? AND state = 'active'), 'filling', 'active'), ?, ? "
        "WHERE true ON CONFLICT (name) DO NOTHING",
        (name, model, size, kind, int(time.time()), kind),
    )
    sql = f"SELECT {COLUMNS} FROM spaces WHERE name = ? AND kind = ?"
    return list(tx.execute(sql, (name, kind)))


def _activate(tx: Transaction, kind: Kind, name: str) -> list[Row]:
    known = tx.execute("SELECT 1 FROM spaces WHERE name = ? AND kind = ?", (name, kind))
    if not list(known):
        return []
    tx.execute(
        "UPDATE spaces SET state = 'retired' WHERE kind = ? AND state = 'active' AND name <> ?",
        (kind, name),
    )
    return list(
        tx.execute(
            f"UPDATE spaces SET state = 'active' WHERE name = ? RETURNING {COLUMNS}",
            (name,),
        )
    )


def _remove_vectors(tx: Transaction, *, kind: Kind, name: str, after_id: int) -> int | None:
    removed = tx.execute(
        "DELETE FROM embeddings WHERE rowid IN (SELECT rowid FROM embeddings "
        "WHERE kind = ? AND item_id > ? AND space = ? ORDER BY item_id LIMIT ?) "
        "RETURNING item_id",
        (kind, after_id, name, REMOVE_CHUNK),
    )
    return max((row[0] for row in removed), default=None)
