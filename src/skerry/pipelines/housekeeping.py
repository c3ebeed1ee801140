"""What a node left alone does by itself: compact the log, note key use, watch its loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from skerry.auth.keys import KeyRing
from skerry.errors import SkerryError
from skerry.metrics import Metrics
from skerry.sql.changes import ChangeLog

log = logging.getLogger(__name__)

TICK_S = 1.0
NOTE_KEYS_S = 60.0
COMPACT_S = 3600.0
SLOW_LOOP_S = 0.25


class Housekeeping:
    """Small periodic work; one that fails is logged and tried again at its next turn."""

    def __init__(self, keys: KeyRing, changes: ChangeLog, *, metrics: Metrics) -> None:
        self._keys = keys
        self._changes = changes
        self._metrics = metrics

    async def run(self) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()
        notes_at, compacts_at = loop.time() + NOTE_KEYS_S, loop.time() + COMPACT_S
        while True:
            await self._tick(loop)
            if loop.time() >= notes_at:
                notes_at = loop.time() + NOTE_KEYS_S
                await self._try(self._note_keys)
            if loop.time() >= compacts_at:
                compacts_at = loop.time() + COMPACT_S
                await self._try(self._compact)

    async def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + TICK_S
        await asyncio.sleep(TICK_S)
        late_s = max(0.0, loop.time() - due)
        self._metrics.loop_lag.set(late_s)
        if late_s > SLOW_LOOP_S:
            log.warning("The event loop was held for %.0f ms", 1e3 * late_s)

    async def _note_keys(self) -> None:
        await self._keys.store_use()

    async def _compact(self) -> None:
        removed = await self._changes.compact()
        if removed:
            log.info("Compacted the log: %d superseded entries removed", removed)

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except SkerryError as error:
            log.warning("Housekeeping: %s", error.message)
