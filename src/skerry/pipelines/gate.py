"""Let many pass at once, or hold all back while something changes under them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    """A lock that is shared by those who pass and exclusive for who closes it."""

    def __init__(self) -> None:
        self._closing = asyncio.Lock()
        self._passing = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Wait while the gate is closed, then keep it from closing for the block."""
        async with self._closing:
            # Counted before the lock is free again: nobody can close it in between.
            self._passing += 1
            self._empty.clear()
        try:
            yield
        finally:
            self._passing -= 1
            if not self._passing:
                self._empty.set()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Wait until those who pass have left, and let nobody in for the block."""
        async with self._closing:
            await self._empty.wait()
            yield
