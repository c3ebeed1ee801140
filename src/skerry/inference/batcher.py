"""Admit concurrent callers to one engine: bounded, joined where that pays, drained on close."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from skerry.errors import DeadlineExceeded, Overloaded, ServiceUnavailable
from skerry.inference.base import Engine, EngineOutput, Float32, Submitted
from skerry.metrics import Metrics

log = logging.getLogger(__name__)

FIRST_GUESS_S = 0.05
"""Time of one engine call, until one was measured."""
NEWEST_WEIGHS = 0.1
MIN_RETRY_AFTER_S = 0.1


@dataclass(slots=True, eq=False)
class Waiting:
    """One admitted item and where its answer goes."""

    tensor: Float32
    answer: asyncio.Future[Submitted]
    since: float


class Batcher:
    """Feeds an engine from a queue of at most `queue` waiting items.

    As many engine calls run side by side as the engine has streams, each in a thread and each
    joining up to `engine.max_batch` items: with `max_batch` 1 this is a semaphore in front of
    streams. A call starts at once when the engine is idle; while other calls run, an incomplete
    batch waits up to `max_delay_ms` for company.

    `threads` are shared with other work on the same cores, and stay open at `close`; without
    them the engine's calls have threads of their own.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        metrics: Metrics,
        queue: int,
        max_delay_ms: float = 2.0,
        threads: Executor | None = None,
    ) -> None:
        self.engine = engine
        self._limit = queue
        self._max_delay_s = max_delay_ms / 1e3
        self._waiting: deque[Waiting] = deque()
        self._running = 0
        self._call_s = FIRST_GUESS_S
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._own = None if threads else ThreadPoolExecutor(engine.streams, "engine")
        self._threads = threads or self._own
        # In shared threads the next call is at hand when one ends, not a turn of the loop later.
        self._calls = engine.streams if threads is None else 2 * engine.streams
        name = engine.info.model
        self._depth = metrics.queue_depth.labels(name)
        self._batch_size = metrics.batch_size.labels(name)
        self._duration = metrics.inference_duration.labels(name)
        self._refused = {
            reason: metrics.refused.labels(name, reason)
            for reason in ("queue_full", "deadline", "closing")
        }

    async def submit(self, tensor: Float32, *, deadline: float) -> Submitted:
        """Run one float32 (3, size, size) before `deadline` (`loop.time()` seconds).

        Raises Overloaded when the queue is full, DeadlineExceeded when the time has passed, and
        ServiceUnavailable once closing. An item whose caller gave up leaves the queue; if the
        engine already works on it, its place is free when that work ends.
        """
        self._admit(deadline)
        loop = asyncio.get_running_loop()
        item = Waiting(tensor, loop.create_future(), loop.time())
        self._waiting.append(item)
        self._depth.inc()
        self._idle.clear()
        self._start_calls()
        try:
            async with asyncio.timeout_at(deadline):
                return await item.answer
        except TimeoutError as error:
            if item in self._waiting:
                self._refused["deadline"].inc()
            raise DeadlineExceeded(
                "The model did not answer within the request's deadline.",
                retry_after_s=self.retry_after_s(),
            ) from error
        finally:
            self._forget(item)

    def retry_after_s(self) -> float:
        """Time in which the queue, as it stands, should be worked off."""
        calls = (len(self._waiting) + self._running) / self.engine.max_batch
        return max(MIN_RETRY_AFTER_S, calls * self._call_s / self.engine.streams)

    async def close(self) -> None:
        """Refuse new work, finish what was admitted."""
        self._closing = True
        await self._idle.wait()
        if self._own is not None:
            self._own.shutdown(wait=False)

    def _admit(self, deadline: float) -> None:
        if self._closing:
            self._refused["closing"].inc()
            raise ServiceUnavailable("The node is shutting down.", retry_after_s=1.0)
        if asyncio.get_running_loop().time() >= deadline:
            self._refused["deadline"].inc()
            raise DeadlineExceeded("The request's deadline passed before the model could start.")
        if self._running >= self._calls and len(self._waiting) >= self._limit:
            self._refused["queue_full"].inc()
            raise Overloaded(
                f"{len(self._waiting)} requests already wait for the model.",
                retry_after_s=self.retry_after_s(),
            )

    def _forget(self, item: Waiting) -> None:
        """Drop an item that no call has taken; one that runs is counted off when it ends."""
        if item in self._waiting:
            self._waiting.remove(item)
            self._depth.dec()
            self._note_idle()

    def _start_calls(self) -> None:
        while self._waiting and self._running < self._calls:
            if self._worth_waiting():
                return
            taken = min(len(self._waiting), self.engine.max_batch)
            self._start([self._waiting.popleft() for _ in range(taken)])

    def _worth_waiting(self) -> bool:
        """Whether an incomplete batch should wait for company; sets the clock that ends it."""
        if self._running == 0 or len(self._waiting) >= self.engine.max_batch:
            return False
        loop = asyncio.get_running_loop()
        flush_at = self._waiting[0].since + self._max_delay_s
        if loop.time() >= flush_at:
            return False
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(flush_at, self._start_calls)
        return True

    def _start(self, items: list[Waiting]) -> None:
        self._running += 1
        loop = asyncio.get_running_loop()
        self._batch_size.observe(len(items))
        call = loop.run_in_executor(self._threads, self._run, [item.tensor for item in items])
        call.add_done_callback(lambda done: self._finish(items, done))

    def _run(self, tensors: list[Float32]) -> EngineOutput:
        return self.engine.run(np.stack(tensors))

    def _finish(self, items: list[Waiting], call: asyncio.Future[EngineOutput]) -> None:
        self._running -= 1
        self._depth.dec(len(items))
        if call.cancelled():  # the event loop is being torn down
            return
        error = call.exception()
        if error is None:
            self._answer(items, call.result())
        else:
            self._fail(items, error)
        self._start_calls()
        self._note_idle()

    def _answer(self, items: list[Waiting], output: EngineOutput) -> None:
        ended = asyncio.get_running_loop().time()
        self._duration.observe(output.elapsed_s)
        self._call_s += NEWEST_WEIGHS * (output.elapsed_s - self._call_s)
        for i, item in enumerate(items):
            if not item.answer.done():
                item.answer.set_result(
                    Submitted(
                        output.logits[i],
                        output.embedding[i],
                        queue_s=max(0.0, ended - item.since - output.elapsed_s),
                        inference_s=output.elapsed_s,
                    )
                )

    def _fail(self, items: list[Waiting], error: BaseException) -> None:
        log.error("engine call of %d items failed: %s", len(items), error)
        for item in items:
            if not item.answer.done():
                item.answer.set_exception(error)

    def _note_idle(self) -> None:
        if not self._waiting and self._running == 0:
            self._idle.set()
