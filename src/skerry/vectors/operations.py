"""The engine's operation numbers, kept above every version that a flush may have left on disk."""

from __future__ import annotations

from pathlib import Path

import qdrant_edge as qe

from skerry.vectors.files import sync_folder, write_atomically
from skerry.vectors.record import Unusable

FILE_NAME = "flushing"
NO_CHANGE = qe.UpdateOperation.delete_points([])


class Operations:
    """Hands operations to the engine and steps over the numbers an unfinished flush used.

    The engine numbers operations onwards from the version of its segments, and skips one, without
    a word, whose number is below the version of the point it is for. A segment's version is
    written last: a process killed in the middle of a flush leaves points with versions above it,
    and a replay of the log would be skipped for just those. So a flush first writes down how many
    operations it covers; found on opening, as many numbers are used up before the replay.

    Raises Unusable when that mark cannot be read.
    """

    def __init__(self, folder: Path, engine: qe.EdgeShard) -> None:
        self._mark = folder / FILE_NAME
        self._engine = engine
        self._unflushed = 0
        for _ in range(self._half_flushed()):
            self.give(NO_CHANGE)

    def give(self, operation: qe.UpdateOperation) -> None:
        """Have the engine do it; on disk after the next flush."""
        self._unflushed += 1
        self._engine.update(operation)

    def flush_begins(self) -> None:
        """Write down how many operations may be on disk in part; synced on return."""
        write_atomically(self._mark, str(self._unflushed).encode())

    def flush_ended(self) -> None:
        """All of them are on disk, and the record says so."""
        self._unflushed = 0
        self._mark.unlink(missing_ok=True)
        sync_folder(self._mark.parent)

    def _half_flushed(self) -> int:
        if not self._mark.exists():
            return 0
        try:
            return int(self._mark.read_bytes())
        except ValueError as error:
            raise Unusable(f"its mark '{FILE_NAME}' cannot be read") from error
