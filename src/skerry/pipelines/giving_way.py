"""Let background work wait where people's requests fill the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from skerry.errors import Overloaded

T = TypeVar("T")


async def when_there_is_room(work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives, begun anew for as long as it is Overloaded: people's requests go first."""
    while True:
        try:
            return await work()
        except Overloaded as error:
            await asyncio.sleep(error.retry_after_s or 1.0)
