"""The node's side of a call that is answered piece by piece."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator


class StreamedCall:
    """Pieces of one answer on their way from the channel to the caller.

    `answer` is done when the worker has ended the call; `until` is when its silence counts as
    hanging.
    """

    __slots__ = ("_arrived", "_limit_s", "_loop", "_parts", "abandoned", "answer", "until")

    def __init__(self, *, limit_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit_s = limit_s
        self._parts: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self.answer: asyncio.Future[bytes] = self._loop.create_future()
        self.answer.add_done_callback(self._ended)
        self.abandoned = False
        self.until = self._loop.time() + limit_s

    def add(self, part: bytes) -> None:
        """Take in what the worker sent; an empty piece only renews the limit."""
        self.until = self._loop.time() + self._limit_s
        if part and not self.abandoned:
            self._parts.append(part)
            self._arrived.set()

    def abandon(self) -> None:
        """Keep no more pieces, and wait for the end no longer than from now."""
        self.abandoned = True
        self._parts.clear()
        self.until = self._loop.time() + self._limit_s

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """All pieces as they come, at last the answer's body; raises the worker's error."""
        while not self.answer.done():
            await self._arrived.wait()
            self._arrived.clear()
            while self._parts:
                yield self._parts.popleft()
        while self._parts:
            yield self._parts.popleft()
        yield await self.answer

    def _ended(self, answer: asyncio.Future[bytes]) -> None:
        self._arrived.set()
        # When the caller has gone nobody asks for the error, and asyncio would report that.
        if not answer.cancelled():
            answer.exception()
