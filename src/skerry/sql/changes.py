"""The log of changes, and the rows and vectors it points at: what a view follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from skerry.sql.base import Database, Transaction
from skerry.sql.images import QUALIFIED, ImageRow, image_row

COMPACT_CHUNK = 5_000


@dataclass(frozen=True, slots=True)
class Change:
    """`op` "put": the row was made or changed; "del": it was removed."""

    seq: int
    kind: str
    id: int
    op: Literal["put", "del"]


@dataclass(frozen=True, slots=True)
class KindChanges:
    """The last change of each item of one kind, up to and including the seq `reached`."""

    reached: int
    changes: list[Change]


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """An image's row and its vector, float32 (d,)."""

    row: ImageRow
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ImageChanges:
    """What to apply to reach `seq`: images as they stand now, and ids that have no vector here."""

    seq: int
    upserts: list[EmbeddedImage]
    deletes: list[int]


class ChangeLog:
    """The log that triggers write, in the same transaction as what it tells of."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._head = 0
        self._head_at = -1

    @property
    def epoch(self) -> str:
        """Names this history; a view of another epoch must be rebuilt."""
        return str(self._db.read("SELECT value FROM meta WHERE name = 'epoch'")[0][0])

    def head(self) -> int:
        """The last seq; 0 before the first change. Asked by every search, so read once a commit."""
        commits = self._db.commits
        if commits != self._head_at:
            rows = self._db.read("SELECT coalesce(max(seq), 0) FROM changes")
            self._head, self._head_at = int(rows[0][0]), commits
        return self._head

    async def after(self, seq: int, *, limit: int = 1000) -> list[Change]:
        """Of the next `limit` entries after `seq`, the last of each (kind, id), in order."""
        rows = await self._db.query(
            "SELECT seq, kind, id, op FROM changes WHERE seq > ? ORDER BY seq LIMIT ?",
            (seq, limit),
        )
        last = {(change.kind, change.id): change for change in (Change(*row) for row in rows)}
        return sorted(last.values(), key=lambda change: change.seq)

    async def of_kind(self, kind: str, *, after: int, limit: int = 1000) -> KindChanges:
        """Of the next `limit` entries of this kind after the seq, the last of each id, in order.

        Entries of other kinds are passed over at once, however many they are.
        """
        rows = await self._db.query(
            "SELECT * FROM (SELECT seq, id, op FROM changes WHERE seq > ? AND kind = ? "
            "ORDER BY seq LIMIT ?) UNION ALL SELECT coalesce(max(seq), 0), NULL, NULL FROM changes",
            (after, kind, limit),
        )
        rows.sort(key=lambda row: int(row[0]))
        entries = [Change(seq, kind, item, op) for seq, item, op in rows if op is not None]
        reached = entries[-1].seq if len(entries) == limit else int(rows[-1][0])
        last = {entry.id: entry for entry in entries}
        return KindChanges(max(after, reached), sorted(last.values(), key=lambda entry: entry.seq))

    async def compact(self) -> int:
        """Remove the entries that a later one of the same (kind, id) replaces; how many."""
        rows = await self._db.query(
            "SELECT seq FROM changes EXCEPT SELECT max(seq) FROM changes GROUP BY kind, id"
        )
        superseded = [int(row[0]) for row in rows]
        for start in range(0, len(superseded), COMPACT_CHUNK):
            chunk = superseded[start : start + COMPACT_CHUNK]
            # In chunks, so that other writes are not kept waiting.
            await self._db.write(lambda tx, chunk=chunk: _forget(tx, chunk))  # type: ignore[misc]
        return len(superseded)


class ImageFeed:
    """Images of one space as a stream of changes."""

    def __init__(self, db: Database, *, space: str) -> None:
        self.space = space
        self._db = db
        self._log = ChangeLog(db)

    def head(self) -> int:
        """The last seq of the log."""
        return self._log.head()

    async def after(self, seq: int, *, limit: int = 250) -> ImageChanges:
        """Changes in the next `limit` entries of images; `seq` again when nothing follows it.

        Rows are read as they stand now, so an image that changes later may be seen early, and is
        then seen again. Applying everything up to the head gives the images with a vector here.
        """
        page = await self._log.of_kind("image", after=seq, limit=limit)
        ids = [change.id for change in page.changes]
        present = await self.images(ids)
        found = {image.row.id for image in present}
        return ImageChanges(page.reached, present, [one for one in ids if one not in found])

    async def images(self, ids: Sequence[int]) -> list[EmbeddedImage]:
        """Rows and vectors of those `ids` that have both."""
        if not ids:
            return []
        # CROSS JOIN keeps this order: left to itself SQLite begins with every embedding there is.
        rows = await self._db.query(
            f"SELECT {QUALIFIED}, vector FROM json_each(?) wanted "
            "CROSS JOIN images ON images.id = wanted.value CROSS JOIN embeddings "
            "ON kind = 'image' AND item_id = images.id AND space = ?",
            (msgspec.json.encode(ids).decode(), self.space),
        )
        return [
            EmbeddedImage(image_row(row[:-1]), np.frombuffer(row[-1], dtype="<f4")) for row in rows
        ]

    async def missing(self, *, after_id: int = 0, limit: int = 1000) -> list[ImageRow]:
        """Images without a vector in this space, by id: what a new model has to embed."""
        rows = await self._db.query(
            f"SELECT {QUALIFIED} FROM images WHERE id > ? AND NOT EXISTS (SELECT 1 "
            "FROM embeddings WHERE kind = 'image' AND item_id = images.id AND space = ?) "
            "ORDER BY id LIMIT ?",
            (after_id, self.space, limit),
        )
        return [image_row(row) for row in rows]

    async def count(self) -> int:
        """Images that have a vector in this space."""
        rows = await self._db.query(
            "SELECT count(*) FROM embeddings WHERE kind = 'image' AND space = ?", (self.space,)
        )
        return int(rows[0][0])


def _forget(tx: Transaction, seqs: list[int]) -> None:
    tx.execute(
        "DELETE FROM changes WHERE seq IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(seqs).decode(),),
    )
