"""Read the log page by page and apply it to a backend."""

from __future__ import annotations

import logging
from collections.abc import Iterable
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
        upserts = list(self._points(entry for entry in page.entries if entry.op == "put"))
        present = {point.id for point in upserts}
        # What is left out may have had a vector before; it must not be found by that.
        absent = {entry.id for entry in page.entries} - present
        status = await backend.apply(Changes(page.seq, upserts, sorted(absent)))
        self.skipped -= present | {entry.id for entry in page.entries if entry.op == "del"}
        self.skipped |= {entry.id for entry in page.entries if entry.op == "put"} - present
        return status

    def _points(self, puts: Iterable[Entry]) -> Iterable[Point]:
        for entry in puts:
            if entry.vector is None:
                continue
            try:
                vector = check_vector(entry.vector, size=self._spec.size)
            except Unprocessable as error:
                fields = {"id": entry.id, "space": self._spec.space}
                log.error("Left out of the index: %s", error.message, extra={"fields": fields})
                continue
            yield Point(entry.id, vector, entry.payload or {})
