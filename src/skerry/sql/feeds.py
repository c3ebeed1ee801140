"""Items of one kind with their vectors in one space, as the log tells of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

from skerry.sql.base import Database
from skerry.sql.changes import ChangeLog
from skerry.sql.spaces import Kind


class Embedded(Protocol):
    """An item with its vector."""

    @property
    def id(self) -> int:
        """Of the item."""


E = TypeVar("E", bound=Embedded)


@dataclass(frozen=True, slots=True)
class SpaceChanges(Generic[E]):
    """What to apply to reach `seq`: items as they stand now, and ids that have no vector here."""

    seq: int
    upserts: list[E]
    deletes: list[int]


class SpaceFeed(ABC, Generic[E]):
    """Items of one space as a stream of changes."""

    kind: ClassVar[Kind]

    def __init__(self, db: Database, *, space: str) -> None:
        self.space = space
        self._db = db
        self._log = ChangeLog(db)

    def head(self) -> int:
        """The last seq of the log."""
        return self._log.head()

    async def after(self, seq: int, *, limit: int = 250) -> SpaceChanges[E]:
        """Changes in the next `limit` entries of this kind; `seq` again when nothing follows it.

        Rows are read as they stand now, so an item that changes later may be seen early, and is
        then seen again. Applying everything up to the head gives the items with a vector here.
        """
        page = await self._log.of_kind(self.kind, after=seq, limit=limit)
        ids = [change.id for change in page.changes]
        present = await self.embedded(ids)
        found = {item.id for item in present}
        return SpaceChanges(page.reached, present, [one for one in ids if one not in found])

    @abstractmethod
    async def embedded(self, ids: Sequence[int]) -> list[E]:
        """Those of `ids` that stand in the database and have a vector here."""

    async def count(self) -> int:
        """Items that have a vector in this space."""
        rows = await self._db.query(
            "SELECT count(*) FROM embeddings WHERE kind = ? AND space = ?", (self.kind, self.space)
        )
        return int(rows[0][0])
