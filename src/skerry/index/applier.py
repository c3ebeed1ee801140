"""Read the log page by page and apply it to a backend."""

from __future__ import annotations

import logging
from dataclasses import replace

from skerry.errors import Unprocessable
from skerry.index.base import Entry, Feed
from skerry.vectors.base import (
    Changes,
    CollectionSpec,
    CollectionStatus,
    Point,
    VectorIndex,
    check_vector,
    check_vectors,
)

log = logging.getLogger(__name__)


class Applier:
    """Feeds backends of one space; an item without a usable vector is left out, and counted."""

    def __init__(self, spec: CollectionSpec, feed: Feed) -> None:
        self.skipped: set[int] = set()
        self._spec = spec
        self._feed = feed

    def spec(self) -> CollectionSpec:
        """The collection, as of the database there is now."""
        return replace(self._spec, epoch=self._feed.epoch)

    async def step(
        self, backend: VectorIndex, *, after: int, limit: int
    ) -> CollectionStatus | None:
        """Apply the next page; None when nothing stands after the seq `after`.

        Raises what the feed raises, and IndexUnavailable when the backend is gone.
        """
        page = await self._feed.after(after, limit=limit)
        if page.seq <= after:
            return None
        puts = [entry for entry in page.entries if entry.op == "put"]
        upserts = self._usable(puts)
        present = {point.id for point in upserts}
        # What is left out may have had a vector before; it must not be found by that.
        absent = {entry.id for entry in page.entries} - present
        status = await backend.apply(Changes(page.seq, upserts, sorted(absent)))
        self.skipped -= {entry.id for entry in page.entries}
        self.skipped |= {entry.id for entry in puts} - present
        return status

    def _usable(self, puts: list[Entry]) -> list[Point]:
        points = [
            Point(entry.id, entry.vector, entry.payload or {})
            for entry in puts
            if entry.vector is not None
        ]
        try:
            check_vectors([point.vector for point in points], size=self._spec.size)
        except Unprocessable:
            # One at a time costs more, and says which.
            return [point for point in points if self._is_usable(point)]
        return points

    def _is_usable(self, point: Point) -> bool:
        try:
            check_vector(point.vector, size=self._spec.size)
        except Unprocessable as error:
            fields = {"id": point.id, "space": self._spec.space}
            log.error("Left out of the index: %s", error.message, extra={"fields": fields})
            return False
        return True
