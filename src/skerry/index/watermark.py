"""A number that callers wait to see reached: the seq up to which the log is applied."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from itertools import count

NOTHING_APPLIED = -1


class Watermark:
    """Rises as changes are applied; falls when the index is replaced by an older copy."""

    def __init__(self) -> None:
        self.value = NOTHING_APPLIED
        self._order = count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []

    def set(self, value: int) -> None:
        """Move to `value` and wake those who waited for it."""
        self.value = value
        while self._waiting and self._waiting[0][0] <= value:
            _, _, future = heappop(self._waiting)
            if not future.done():
                future.set_result(None)

    async def reach(self, value: int) -> None:
        """Wait until the mark stands at `value` or above."""
        while self.value < value:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heappush(self._waiting, (value, next(self._order), future))
            await future

    def abandon(self, error: Exception) -> None:
        """Nothing more will be reached: raise `error` in those who wait."""
        waiting, self._waiting = self._waiting, []
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(error)
