"""The index as the node's flows see it: a view of the log that is current when it is searched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from skerry.deadlines import Deadlines
from skerry.errors import IndexUnavailable, Overloaded
from skerry.index.applier import Applier
from skerry.index.base import BackendFactory, Feed, IndexState, State
from skerry.index.follower import Follower, IndexOptions
from skerry.index.generations import Generations, discard
from skerry.index.serving import Serving
from skerry.index.succession import Make, Succession
from skerry.metrics import Metrics
from skerry.vectors.base import CollectionSpec, Filter, Float32, Match, VectorIndex

log = logging.getLogger(__name__)

IMPROVE_CHECK_S = 1.0
IMPROVE_AGAIN_S = 60.0


class Index:
    """The index of one space, an ActiveIndex.

    Changes come from the feed alone, so whatever happens to the backend, another one over the
    same folder, or over an empty one, leads to the same state.
    """

    def __init__(
        self,
        spec: CollectionSpec,
        *,
        feed: Feed,
        factory: BackendFactory,
        folder: Path,
        metrics: Metrics,
        options: IndexOptions | None = None,
    ) -> None:
        self._spec = spec
        self._feed = feed
        self._factory = factory
        self._options = options or IndexOptions()
        self._generations = Generations(folder)
        self._serving = Serving()
        self._applier = Applier(spec, feed)
        self._follower = Follower(
            spec,
            serving=self._serving,
            applier=self._applier,
            feed=feed,
            factory=factory,
            generations=self._generations,
            metrics=metrics,
            options=self._options,
        )
        self._succession = Succession(
            self._serving,
            applier=self._applier,
            feed=feed,
            factory=factory,
            generations=self._generations,
            batch=self._options.batch,
        )
        self._deadlines = Deadlines()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._open = False

    @property
    def space(self) -> str:
        """The space of its vectors."""
        return self._spec.space

    async def open(self) -> None:
        """Start to follow the log; returns when a backend is open, or could not be opened.

        Never raises for a damaged or missing index: it is rebuilt from the log. `state` says how
        it stands, `caught_up` waits.
        """
        self._open = True
        self._start(self._follower.run())
        self._start(self._improve_when_due())
        try:
            await self._follower.attempted.wait()
        except BaseException:  # who opens it has given up: nobody else would close it
            await self.close()
            raise

    async def close(self) -> None:
        """Stop following, sync what was applied, end the backend."""
        backend = await self._stop()
        if backend is not None:
            await backend.close()

    async def destroy(self) -> None:
        """Close, and delete what is on disk or on a server."""
        backend = await self._stop()
        if backend is not None:
            with suppress(IndexUnavailable):  # what is left of it is discarded below
                await backend.destroy()
        generations = await asyncio.to_thread(self._generations.others)
        await discard(generations, factory=self._factory)
        await asyncio.to_thread(self._generations.remove)

    def notify(self) -> None:
        """Something was committed."""
        self._follower.wake()

    async def search(
        self, vector: Float32, *, limit: int, deadline: float, filter: Filter | None = None
    ) -> list[Match]:
        """The nearest points, with every change that was committed before the call.

        `deadline` is in `loop.time()` seconds. Raises IndexUnavailable when the index cannot
        answer by then, BadRequest and Unprocessable as the backend does.
        """
        self._check_open()
        if self._serving.outage is not None:
            raise self._serving.outage.with_traceback(None)
        head = self._feed.head()
        if self._serving.applied.value < head:
            self._follower.wake()
        try:
            with self._deadlines.at(deadline):
                return await self._serving.search(vector, limit=limit, filter=filter, at_least=head)
        except TimeoutError:
            raise self._late() from None

    async def ready_for_writes(self, *, deadline: float) -> None:
        """Wait while the index is `max_lag` changes behind; Overloaded at `deadline`.

        While there is no index to be had, nobody waits: rows do not need it.
        """
        self._check_open()
        wanted = self._feed.head() - self._options.max_lag
        if self._serving.outage is not None or self._serving.applied.value >= wanted:
            return
        self._follower.wake()
        try:
            async with asyncio.timeout_at(deadline):
                await self._serving.applied.reach(wanted)
        except TimeoutError:
            raise Overloaded(
                f"The vector index is {self._lag()} changes behind.", retry_after_s=5
            ) from None

    async def caught_up(self, seq: int) -> None:
        """Wait until the change `seq` is applied."""
        self._check_open()
        self._follower.wake()
        await self._serving.applied.reach(seq)

    async def rebuild(self) -> None:
        """Build it anew from the log; the present one answers until the new one takes over.

        Raises IndexUnavailable when the new one fails or the index is closed meanwhile. Failed
        or cancelled, the present one stays.
        """
        await self._succeed(self._make_empty, why="rebuild")

    async def optimise(self) -> bool:
        """Put the points that are only scanned into the graph; False when that is not worth it.

        It happens by itself once there are many. Raises as `rebuild`.
        """
        return await self._succeed(self._make_optimised, why="optimise")

    def state(self) -> IndexState:
        """The index as it stands now."""
        status = self._serving.status
        return IndexState(
            space=self._spec.space,
            state=self._state(),
            points=status.points,
            indexed=status.indexed,
            lag=self._lag(),
            progress=self._progress(),
            skipped=len(self._applier.skipped),
            message=self._follower.trouble,
        )

    def _state(self) -> State:
        if self._serving.backend is None:
            return "failed" if self._follower.trouble else "catching_up"
        if self._lag() > self._options.batch:
            return "catching_up"
        return "ready" if self._succession.progress is None else "rebuilding"

    def _progress(self) -> float:
        if self._succession.progress is not None:
            return self._succession.progress
        whole = self._feed.head() - self._follower.start_seq
        return 1.0 if whole <= 0 else max(0.0, 1 - self._lag() / whole)

    def _lag(self) -> int:
        return max(0, self._feed.head() - max(0, self._serving.applied.value))

    def _late(self) -> IndexUnavailable:
        if self._serving.outage is not None:
            return self._serving.outage
        trouble = f" {self._follower.trouble}" if self._follower.trouble else ""
        return IndexUnavailable(
            f"The vector index is {self._lag()} changes behind.{trouble}", retry_after_s=1
        )

    async def _succeed(self, make: Make, *, why: str) -> bool:
        """As a task of the index, so that closing it ends the work."""
        self._check_open()
        try:
            replaced: bool = await self._start(self._replace(make, why=why))
        except asyncio.CancelledError:
            if self._open:
                raise
            raise _closed() from None
        return replaced

    async def _replace(self, make: Make, *, why: str) -> bool:
        replaced = await self._succession.run(make, why=why)
        self._follower.wake()
        return replaced

    async def _make_empty(self, folder: Path) -> VectorIndex:
        backend = self._factory(folder)
        await backend.open(self._applier.spec())
        return backend

    async def _make_optimised(self, folder: Path) -> VectorIndex | None:
        backend = self._serving.backend
        return None if backend is None else await backend.optimised(folder)

    async def _improve_when_due(self) -> None:
        while True:
            await asyncio.sleep(IMPROVE_CHECK_S)
            try:
                await self._improve()
            except Exception as error:  # the present one serves on
                fields = {"space": self.space}
                log.exception(
                    "The vector index was not improved: %s", error, extra={"fields": fields}
                )
                await asyncio.sleep(IMPROVE_AGAIN_S)

    async def _improve(self) -> None:
        status = self._serving.status
        if self._serving.backend is None or self._lag() > self._options.batch:
            return
        if status.doubtful:
            fields = {"space": self.space}
            log.warning(
                "The machine went down while the vector index was in use: it is rebuilt",
                extra={"fields": fields},
            )
            await self._replace(self._make_empty, why="doubt")
        elif status.optimisable:
            await self._replace(self._make_optimised, why="optimise")

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _stop(self) -> VectorIndex | None:
        self._open = False
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._serving.applied.end(_closed())
        backend, self._serving.backend = self._serving.backend, None
        return backend

    def _check_open(self) -> None:
        if not self._open:
            raise _closed()


def _closed() -> IndexUnavailable:
    return IndexUnavailable("The vector index is closed.")
