"""Bound how long many tasks wait, by one timer for them all."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

CHECK_S = 0.1


class Deadlines:
    """What `asyncio.timeout_at` does, for waits so many and short that its timers cost too much.

    The price: a wait ends up to `CHECK_S` after its deadline. To be used from one event loop.
    """

    def __init__(self) -> None:
        self._waits: set[Wait] = set()
        self._check: asyncio.TimerHandle | None = None

    def at(self, until: float) -> Wait:
        """A block to be left by `until`, in `loop.time()` seconds; else it raises TimeoutError."""
        return Wait(self, until)

    def add(self, wait: Wait) -> None:
        """Look at `wait` from now on."""
        self._waits.add(wait)
        if self._check is None:
            self._look_later()

    def remove(self, wait: Wait) -> None:
        """The wait is over."""
        self._waits.discard(wait)

    def _look_later(self) -> None:
        self._check = asyncio.get_running_loop().call_later(CHECK_S, self._end_overdue)

    def _end_overdue(self) -> None:
        self._check = None
        now = asyncio.get_running_loop().time()
        for wait in [wait for wait in self._waits if wait.until <= now]:
            wait.end()
        if self._waits:
            self._look_later()


class Wait:
    """One task's block; `until` may be moved while it lasts."""

    __slots__ = ("_all", "_cancelling", "_ended", "_task", "until")

    def __init__(self, all_waits: Deadlines, until: float) -> None:
        self._all = all_waits
        self._ended = False
        self.until = until

    def __enter__(self) -> Self:
        task: asyncio.Task[Any] | None = asyncio.current_task()
        assert task is not None, "only a task can wait"
        self._task = task
        self._cancelling = task.cancelling()
        self._all.add(self)
        return self

    def end(self) -> None:
        """Make the block raise TimeoutError."""
        self._ended = True
        self._all.remove(self)
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._all.remove(self)
        # Cancelled by others too: then it is their cancellation that goes on.
        alone = self._ended and self._task.uncancel() <= self._cancelling
        if alone and kind is asyncio.CancelledError:
            raise TimeoutError from error
