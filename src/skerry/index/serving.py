"""The backend that answers now, how far it has followed the log, and who waits for more."""

from __future__ import annotations

import asyncio

from skerry.errors import IndexUnavailable
from skerry.index.watermark import NOTHING_APPLIED, Watermark
from skerry.vectors.base import CollectionStatus, Filter, Float32, Match, VectorIndex


class Serving:
    """At most one backend. Losing it makes searches wait for the next, not fail."""

    def __init__(self) -> None:
        self.backend: VectorIndex | None = None
        self.status = CollectionStatus(0, 0, 0)
        self.applied = Watermark()
        # Held by whoever changes the backend or puts another in its place.
        self.changing = asyncio.Lock()
        self.outage: IndexUnavailable | None = None
        """Why no backend is to be had, once that has lasted; nobody is to wait for one then."""

    def install(self, backend: VectorIndex, status: CollectionStatus) -> None:
        """Let searches go to `backend` from now on."""
        self.backend, self.outage = backend, None
        self.note(status)

    def note(self, status: CollectionStatus) -> None:
        """The backend has applied more."""
        self.status = status
        self.applied.set(status.applied_seq)

    def lose(self, backend: VectorIndex) -> bool:
        """The backend is dead; False when it is no longer the one that serves."""
        if self.backend is not backend:
            return False
        self.backend = None
        self.applied.set(NOTHING_APPLIED)
        return True

    async def search(
        self, vector: Float32, *, limit: int, filter: Filter | None, at_least: int
    ) -> list[Match]:
        """Search once the change `at_least` is applied; once more when the backend dies on it."""
        for attempt in (1, 2):
            await self.applied.reach(at_least)
            backend = self.backend
            assert backend is not None, "nothing is applied without a backend"
            try:
                return await backend.search(vector, limit=limit, filter=filter)
            except IndexUnavailable:
                self.lose(backend)
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")
