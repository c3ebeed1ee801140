"""One move for rebuild and optimise: another backend catches up, takes over, the old one ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from skerry.errors import IndexUnavailable
from skerry.index.applier import Applier
from skerry.index.base import BackendFactory, Feed
from skerry.index.generations import Generations, discard
from skerry.index.serving import Serving
from skerry.vectors.base import CollectionStatus, VectorIndex

log = logging.getLogger(__name__)

Make = Callable[[Path], Awaitable[VectorIndex | None]]
"""Makes the successor in a folder, open; None when there is no need for one."""

# As close to the head as the last step, under the lock, is to be short.
NEARLY = 256


class Succession:
    """Replaces the serving backend while it goes on serving."""

    def __init__(
        self,
        serving: Serving,
        *,
        applier: Applier,
        feed: Feed,
        factory: BackendFactory,
        generations: Generations,
        batch: int,
    ) -> None:
        self.progress: float | None = None
        """From 0 to 1 while a successor is in the making."""
        self._serving = serving
        self._applier = applier
        self._feed = feed
        self._factory = factory
        self._generations = generations
        self._batch = batch
        self._one_at_a_time = asyncio.Lock()

    async def run(self, make: Make, *, why: str) -> bool:
        """Replace the serving backend by what `make` gives; False when it gives none.

        Raises what `make`, the feed and the successor raise; the old one then goes on serving.
        """
        async with self._one_at_a_time:
            folder = await asyncio.to_thread(self._generations.fresh)
            self.progress = 0.0
            try:
                return await self._run(make, folder, why)
            finally:
                self.progress = None

    async def _run(self, make: Make, folder: Path, why: str) -> bool:
        successor: VectorIndex | None = None
        try:
            successor = await make(folder)
            if successor is None:
                return False
            status = await self._catch_up(successor, await successor.status(), within=NEARLY)
            if status.optimisable:
                successor, folder = await self._optimise(successor)
            old = await self._take_over(successor, folder)
        except BaseException:
            await asyncio.shield(self._abandon(successor, folder))
            raise
        fields = {"why": why, "points": self._serving.status.points, "generation": folder.name}
        log.info("The vector index was replaced by a newer one", extra={"fields": fields})
        if old is not None:
            with suppress(IndexUnavailable):  # what is left of it is discarded below
                await old.destroy()
        others = await asyncio.to_thread(self._generations.others, folder)
        await discard(others, factory=self._factory)
        return True

    async def _take_over(self, successor: VectorIndex, folder: Path) -> VectorIndex | None:
        status = await self._catch_up(successor, await successor.status(), within=NEARLY)
        await successor.flush()
        async with self._serving.changing:
            status = await self._catch_up(successor, status, within=0)
            await asyncio.to_thread(self._generations.use, folder)
            old = self._serving.backend
            self._serving.install(successor, status)
        return old

    async def _optimise(self, first: VectorIndex) -> tuple[VectorIndex, Path]:
        """What was filled anew is all scanned: taking over as it is would slow every search."""
        folder = await asyncio.to_thread(self._generations.fresh)
        second = await first.optimised(folder)
        if second is None:
            raise IndexUnavailable("The new index could not be optimised.")
        await first.destroy()
        return second, folder

    async def _catch_up(
        self, successor: VectorIndex, status: CollectionStatus, *, within: int
    ) -> CollectionStatus:
        while (behind := self._feed.head() - status.applied_seq) > within:
            applied = await self._applier.step(
                successor, after=status.applied_seq, limit=self._batch
            )
            if applied is None:
                break
            status = applied
            self.progress = 1 - behind / max(1, self._feed.head())
        return status

    async def _abandon(self, successor: VectorIndex | None, folder: Path) -> None:
        if successor is not None:
            with suppress(IndexUnavailable):
                await successor.destroy()
        await discard([folder], factory=self._factory)
