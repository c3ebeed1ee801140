"""Keep a backend open and up to date with the log, whatever happens to it."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from skerry.errors import IndexUnavailable, ServiceUnavailable, SpaceMismatch
from skerry.index.applier import Applier
from skerry.index.base import BackendFactory, Feed
from skerry.index.generations import Generations, discard
from skerry.index.serving import Serving
from skerry.metrics import Metrics
from skerry.vectors.base import CollectionSpec, CollectionStatus, VectorIndex

log = logging.getLogger(__name__)

WORKER = "vectors"
LOOK_S = 1.0
"""How often the log is looked at unasked."""
PATIENCE_S = 2.0
"""How long searches wait for a backend that does not open, before they are refused at once."""
FIRST_DELAY_S = 0.1
MAX_DELAY_S = 10.0
STEADY_S = 30.0


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """How the log is followed.

    `batch` log entries are applied at once (a larger batch holds the event loop while it is
    packed). After `flush_changes` changes or `flush_s` seconds they are synced to disk; the rest
    is replayed after a crash. Writers wait while the index is `max_lag` changes behind.
    """

    batch: int = 128
    flush_changes: int = 5000
    flush_s: float = 30.0
    max_lag: int = 10_000


class Follower:
    """Opens the current generation, applies the log to it, and opens it again when it dies."""

    def __init__(
        self,
        spec: CollectionSpec,
        *,
        serving: Serving,
        applier: Applier,
        feed: Feed,
        factory: BackendFactory,
        generations: Generations,
        metrics: Metrics,
        options: IndexOptions,
    ) -> None:
        self.attempted = asyncio.Event()
        """Set once a backend was opened, or could not be."""
        self.trouble = ""
        """Why the log is not followed at the moment; empty when it is."""
        self.start_seq = 0
        """Where the log was taken up."""
        self._spec = spec
        self._serving = serving
        self._applier = applier
        self._feed = feed
        self._factory = factory
        self._generations = generations
        self._options = options
        self._lag = metrics.index_lag.labels(spec.space)
        self._size = metrics.index_size.labels(spec.space)
        self._restarts = metrics.worker_restarts.labels(WORKER)
        self._wake = asyncio.Event()
        self._swept = False
        self._without_since: float | None = None
        self._unflushed = 0
        self._flush_at = math.inf

    def wake(self) -> None:
        """There may be something to apply, or another backend to apply it to."""
        self._wake.set()

    async def run(self) -> NoReturn:
        """Follow until cancelled."""
        delay_s = FIRST_DELAY_S
        while True:
            try:
                if self._serving.backend is None:
                    await self._attach()
                self.attempted.set()
                began_at = asyncio.get_running_loop().time()
                await self._follow()
                if asyncio.get_running_loop().time() - began_at > STEADY_S:
                    delay_s = FIRST_DELAY_S
            except Exception as error:  # whatever failed, the log is still there: try again
                self._report(error)
                self.attempted.set()
            if self.trouble or self._serving.backend is None:
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, MAX_DELAY_S)

    def _report(self, error: Exception) -> None:
        self._tell_outage(error)
        if self.trouble == str(error):
            return  # told already
        self.trouble = str(error)
        known = isinstance(error, ServiceUnavailable)
        fields = {"space": self._spec.space}
        log.error(
            "The vector index cannot follow the log: %s",
            error,
            exc_info=None if known else error,
            extra={"fields": fields},
        )

    def _tell_outage(self, error: Exception) -> None:
        """Let nobody wait for a backend that has not been there for a while."""
        if self._serving.backend is not None:
            return
        now = asyncio.get_running_loop().time()
        self._without_since = self._without_since or now
        if now - self._without_since >= PATIENCE_S:
            self._serving.outage = (
                error if isinstance(error, IndexUnavailable) else IndexUnavailable(str(error))
            )

    async def _attach(self) -> None:
        async with self._serving.changing:
            folder = await asyncio.to_thread(self._generations.current)
            backend, status = await self._open_in(folder)
            self._serving.install(backend, status)
        self._without_since = None
        if self.attempted.is_set():
            self._restarts.inc()
        if not self._swept:
            self._swept = True
            # What an earlier run left. Later there may be one in the making.
            others = await asyncio.to_thread(self._generations.others, folder)
            await discard(others, factory=self._factory)
        self.start_seq = status.applied_seq
        self._unflushed, self._flush_at = 0, math.inf
        self._note(status)

    async def _open_in(self, folder: Path) -> tuple[VectorIndex, CollectionStatus]:
        spec = self._applier.spec()
        backend = self._factory(folder)
        try:
            status = await backend.open(spec)
            head = self._feed.head()
            if status.applied_seq <= head:
                return backend, status
            reason = f"it is ahead of the database, {status.applied_seq} > {head}"
        except SpaceMismatch as error:
            reason = error.message
        fields = {"space": spec.space, "reason": reason}
        log.warning("The vector index is built anew", extra={"fields": fields})
        await backend.destroy()
        backend = self._factory(folder)
        return backend, await backend.open(spec)

    async def _follow(self) -> None:
        """Apply what is there and wait for more, until the backend is gone or was replaced."""
        backend = self._serving.backend
        if backend is None:
            return
        gone = asyncio.ensure_future(backend.gone())
        gone.add_done_callback(lambda _: self.wake())
        try:
            while self._serving.backend is backend and not gone.done():
                self._wake.clear()
                await self._catch_up(backend)
                await self._sleep()
        except IndexUnavailable as error:
            # Where it was replaced meanwhile, the next one has what this one lacks.
            if self._serving.lose(backend):
                self.trouble = error.message
        finally:
            died = gone.done()
            gone.cancel()
        if died:
            self._serving.lose(backend)
        if self._serving.backend is None:
            log.warning(
                "The vector engine is gone; it is opened anew",
                extra={"fields": {"space": self._spec.space, "reason": self.trouble or "ended"}},
            )
            await backend.close()

    async def _catch_up(self, backend: VectorIndex) -> None:
        while await self._apply_page(backend):
            if self._unflushed >= self._options.flush_changes:
                await self._flush(backend)
        if asyncio.get_running_loop().time() >= self._flush_at:
            await self._flush(backend)
        self.trouble = ""

    async def _apply_page(self, backend: VectorIndex) -> bool:
        async with self._serving.changing:
            if self._serving.backend is not backend:
                return False
            before = self._serving.applied.value
            status = await self._applier.step(backend, after=before, limit=self._options.batch)
            if status is None or self._serving.backend is not backend:
                return False
            self._serving.note(status)
        self._unflushed += status.applied_seq - before
        if self._flush_at == math.inf:
            self._flush_at = asyncio.get_running_loop().time() + self._options.flush_s
        self._note(status)
        return True

    async def _flush(self, backend: VectorIndex) -> None:
        self._unflushed, self._flush_at = 0, math.inf
        await backend.flush()

    def _note(self, status: CollectionStatus) -> None:
        self._lag.set(max(0, self._feed.head() - status.applied_seq))
        self._size.set(status.points)

    async def _sleep(self) -> None:
        # Images and documents share the log: who writes the one need not know this index.
        due = min(self._flush_at, asyncio.get_running_loop().time() + LOOK_S)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._wake.wait()
