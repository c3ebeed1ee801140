"""Keep a process: started when it is needed, and anew when it has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from skerry.errors import ModelUnavailable
from skerry.metrics import Metrics
from skerry.workers.restarts import Restarts

log = logging.getLogger(__name__)


class Process(Protocol):
    """What is kept."""

    @property
    def pid(self) -> int:
        """Its process id."""

    async def gone(self) -> str:
        """Wait until it has ended; why it did."""

    async def stop(self) -> None:
        """End it if it lives, and tidy up what it leaves behind."""


P = TypeVar("P", bound=Process)


class Kept(Generic[P]):
    """At most one process of a model; starts that fail in a row are tried ever less often.

    `start` makes a process that is ready for calls, or raises and leaves none; `kind` names it in
    the log and the metrics.
    """

    def __init__(
        self, model: str, *, kind: str, start: Callable[[], Awaitable[P]], metrics: Metrics
    ) -> None:
        self._model = model
        self._kind = kind
        self._start = start
        self._restarted = metrics.worker_restarts.labels(kind)
        self._starting = asyncio.Lock()
        self._restarts = Restarts(model)
        self._process: P | None = None
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process id; None while there is no process."""
        return None if self._process is None else self._process.pid

    async def running(self) -> P:
        """The process; ModelUnavailable once closed, what `start` raises, or why to wait."""
        async with self._starting:
            if self._closed:
                raise ModelUnavailable(f"Model '{self._model}' is closed.")
            if self._process is None:
                self._process = await self._started()
                self._watch = asyncio.create_task(self._notice_end(self._process))
            return self._process

    def close(self) -> P | None:
        """Keep it no longer: the process that is to be ended, if there is one."""
        self._closed = True
        process, self._process = self._process, None
        if self._watch is not None:
            self._watch.cancel()
        return process

    async def _started(self) -> P:
        self._restarts.check()
        try:
            process = await self._start()
        except Exception as error:
            self._restarts.failed(error)
            raise
        self._restarts.succeeded()
        return process

    async def _notice_end(self, process: P) -> None:
        reason = await process.gone()
        self._process = None
        log.error("The %s worker %s; the next request starts it again.", self._kind, reason)
        self._restarted.inc()
        await process.stop()
