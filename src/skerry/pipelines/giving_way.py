"""Let background work wait where people's requests fill the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from skerry.errors import MemoryLimitReached, Overloaded

T = TypeVar("T")


async def when_there_is_room(work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives, begun anew while queue or memory are full: people's requests go first."""
    while True:
        try:
            return await work()
        except (Overloaded, MemoryLimitReached) as error:
            await asyncio.sleep(error.retry_after_s or 1.0)
