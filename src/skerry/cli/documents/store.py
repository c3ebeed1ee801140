"""Store files of documents on a node, and say what became of each document."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skerry.cli.documents.files import Labels, Load, Row, unreadable
from skerry.cli.folders import Candidate
from skerry.cli.reports import error_json
from skerry.cli.sending import attempt, side_by_side
from skerry.errors import DeadlineExceeded, DocumentUnreadable, SkerryError

if TYPE_CHECKING:
    from skerry.client import Client
    from skerry.client.documents import Added

# A very long document may need more than a request's time where short ones do not.
OWN = (DeadlineExceeded,)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one document: `created`, `updated`, `unchanged` or `failed`."""

    place: str
    status: str
    id: str = ""
    chunks: int = 0
    notes: tuple[str, ...] = ()
    error: SkerryError | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """A load that was sent, and what became of its documents."""

    load: Load
    outcomes: Sequence[Outcome]


class DocumentStore:
    """Stores documents on one node with the same labels; usable from several threads."""

    def __init__(self, node: Client, labels: Labels) -> None:
        self.node = node
        self.labels = labels

    def store(self, load: Load) -> Done:
        """Store it; raises only the errors that would meet every other file too."""
        if load.rows:
            readable = [row for row in load.rows if not row.error]
            broken = [_failed(row.place, row.error) for row in load.rows if row.error]
            return Done(load, [*self._store_rows(readable), *broken])
        return Done(load, [self._store_file(load.candidate)])

    def store_all(self, loads: Iterable[Load], *, jobs: int) -> Generator[Done, None, None]:
        """Store by `jobs` threads, giving what is done as it comes; closing it ends the rest."""
        return side_by_side(self.store, loads, jobs=jobs)

    def _store_file(self, candidate: Candidate) -> Outcome:
        place = str(candidate.path)
        added = attempt(self.node, lambda: self._send_file(candidate), own=OWN)
        return _failed(place, added) if isinstance(added, SkerryError) else _outcome(place, added)

    def _send_file(self, candidate: Candidate) -> Added:
        try:
            data = candidate.path.read_bytes()
            timestamp = self.labels.timestamp_of(candidate)
        except OSError as error:
            raise unreadable(error) from error
        document_id = self.labels.id_of(candidate)
        if not _is_text(document_id):
            raise DocumentUnreadable("Its name is not UTF-8.", remedy="Rename the file.")
        return self.node.documents.add_file(
            data,
            candidate.relative,
            id=document_id,
            category=self.labels.category_of(candidate),
            timestamp=timestamp,
            metadata=self.labels.metadata or None,
        )

    def _store_rows(self, rows: Sequence[Row]) -> list[Outcome]:
        if not rows:
            return []
        fields = [row.fields for row in rows]
        added = attempt(self.node, lambda: self.node.documents.add(fields), own=OWN)
        if not isinstance(added, SkerryError):
            return [_outcome(row.place, one) for row, one in zip(rows, added, strict=True)]
        if len(rows) == 1:
            return [_failed(rows[0].place, added)]
        # One of them spoils the request for all: the halves tell which.
        middle = len(rows) // 2
        return [*self._store_rows(rows[:middle]), *self._store_rows(rows[middle:])]


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """What became of one document, for programs."""
    entry: dict[str, Any] = {"place": outcome.place, "status": outcome.status}
    if outcome.id:
        entry["id"] = outcome.id
    if outcome.error is not None:
        return {**entry, "error": error_json(outcome.error)}
    notes = {"notes": outcome.notes} if outcome.notes else {}
    return {**entry, "chunks": outcome.chunks, **notes}


def _outcome(place: str, added: Added) -> Outcome:
    if added.error is not None:
        from skerry.client.transport import as_error

        return Outcome(place, "failed", added.id, error=as_error(added.error))
    return Outcome(place, added.status, added.id, added.chunks, tuple(added.notes))


def _failed(place: str, error: SkerryError | None) -> Outcome:
    return Outcome(place, "failed", error=error)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
