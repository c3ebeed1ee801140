"""A number that callers wait to see reached: the seq up to which the log is applied."""

from __future__ import annotations

import asyncio

NOTHING_APPLIED = -1


class Watermark:
    """Rises as changes are applied; falls when the index is replaced by an older copy."""

    def __init__(self) -> None:
        self.value = NOTHING_APPLIED
        self._ended: Exception | None = None
        self._waiting: dict[asyncio.Future[None], int] = {}

    def set(self, value: int) -> None:
        """Move to `value` and wake those who waited for it."""
        self.value = value
        self._wake(value)

    def end(self, error: Exception) -> None:
        """Nothing more will be reached: raise `error` in those who wait, and who come later."""
        self._ended = error
        self._wake(None)

    async def reach(self, value: int) -> None:
        """Wait until the mark stands at `value` or above; raises what `end` was given."""
        while self._ended is None and self.value < value:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[future] = value
            try:
                await future
            finally:
                del self._waiting[future]
        if self._ended is not None:
            raise self._ended

    def _wake(self, reached: int | None) -> None:
        for future, value in self._waiting.items():
            if (reached is None or value <= reached) and not future.done():
                future.set_result(None)
