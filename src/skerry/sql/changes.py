"""The log of changes: what every view of the data follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from skerry.sql.base import Database, Transaction

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


def _forget(tx: Transaction, seqs: list[int]) -> None:
    tx.execute(
        "DELETE FROM changes WHERE seq IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(seqs).decode(),),
    )
