"""Admit concurrent callers to one model: bounded, joined where that pays, drained on close."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from skerry.errors import DeadlineExceeded, Overloaded, ServiceUnavailable, SkerryError
from skerry.inference.base import Extractions, Runner, Submitted
from skerry.metrics import Metrics

log = logging.getLogger(__name__)

FIRST_GUESS_S = 0.05
"""Time of one call, until one was measured."""
NEWEST_WEIGHS = 0.1
MIN_RETRY_AFTER_S = 0.1


@dataclass(slots=True, eq=False)
class Waiting:
    """One admitted image and where its answer goes."""

    image: bytes
    answer: asyncio.Future[Submitted]
    since: float


class Batcher:
    """Feeds a runner from a queue of at most `queue` waiting images.

    As many calls are under way as the runner wants, each joining up to `max_batch` images: with 1
    this is a semaphore in front of streams. A call starts at once while a stream is idle; else an
    incomplete batch waits up to `max_delay_ms` for company.
    """

    def __init__(
        self, runner: Runner, *, metrics: Metrics, queue: int, max_delay_ms: float = 2.0
    ) -> None:
        self.runner = runner
        self._limit = queue
        self._max_delay_s = max_delay_ms / 1e3
        self._waiting: deque[Waiting] = deque()
        self._tasks: set[asyncio.Task[Extractions]] = set()
        self._call_s = FIRST_GUESS_S
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        name = runner.info.model
        self._depth = metrics.queue_depth.labels(name)
        self._batch_size = metrics.batch_size.labels(name)
        self._duration = metrics.inference_duration.labels(name)
        self._refused = {
            reason: metrics.refused.labels(name, reason)
            for reason in ("queue_full", "deadline", "closing")
        }

    async def submit(self, image: bytes, *, deadline: float) -> Submitted:
        """Features of one image before `deadline` (`loop.time()` seconds).

        Raises Overloaded when the queue is full, DeadlineExceeded when the time has passed,
        ServiceUnavailable once closing, and what the runner says of the image. An image whose
        caller gave up leaves the queue; once a call has it, its place is free when that ends.
        """
        self._admit(deadline)
        loop = asyncio.get_running_loop()
        item = Waiting(image, loop.create_future(), loop.time())
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
        calls = (len(self._waiting) + len(self._tasks)) / self.runner.max_batch
        return max(MIN_RETRY_AFTER_S, calls * self._call_s / self.runner.streams)

    async def close(self) -> None:
        """Refuse new work, finish what was admitted."""
        self._closing = True
        await self._idle.wait()

    def _admit(self, deadline: float) -> None:
        if self._closing:
            self._refused["closing"].inc()
            raise ServiceUnavailable("The node is shutting down.", retry_after_s=1.0)
        if asyncio.get_running_loop().time() >= deadline:
            self._refused["deadline"].inc()
            raise DeadlineExceeded("The request's deadline passed before the model could start.")
        if len(self._tasks) >= self.runner.calls and len(self._waiting) >= self._limit:
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
        while self._waiting and len(self._tasks) < self.runner.calls:
            if self._worth_waiting():
                return
            taken = min(len(self._waiting), self.runner.max_batch)
            self._start([self._waiting.popleft() for _ in range(taken)])

    def _worth_waiting(self) -> bool:
        """Whether an incomplete batch should wait for company; sets the clock that ends it."""
        if len(self._tasks) < self.runner.streams or len(self._waiting) >= self.runner.max_batch:
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
        self._batch_size.observe(len(items))
        call = asyncio.create_task(self.runner.run([item.image for item in items]))
        self._tasks.add(call)
        call.add_done_callback(lambda done: self._finish(items, done))

    def _finish(self, items: list[Waiting], call: asyncio.Task[Extractions]) -> None:
        self._tasks.discard(call)
        self._depth.dec(len(items))
        if call.cancelled():  # the event loop is being torn down
            return
        error = call.exception()
        if error is None:
            self._answer(items, call.result())
        else:
            log.error("a call of %d images failed: %s", len(items), error)
            for item in items:
                _fail(item, error)
        self._start_calls()
        self._note_idle()

    def _answer(self, items: list[Waiting], extractions: Extractions) -> None:
        ended = asyncio.get_running_loop().time()
        if extractions.inference_s:
            self._note_time(extractions)
        for item, outcome in zip(items, extractions.outcomes, strict=True):
            if isinstance(outcome, SkerryError):
                _fail(item, outcome)
            elif not item.answer.done():
                busy_s = outcome.decode_s + extractions.inference_s
                item.answer.set_result(
                    Submitted(
                        outcome.packed,
                        decode_s=outcome.decode_s,
                        queue_s=max(0.0, ended - item.since - busy_s),
                        inference_s=extractions.inference_s,
                    )
                )

    def _note_time(self, extractions: Extractions) -> None:
        self._duration.observe(extractions.inference_s)
        decoded = [one.decode_s for one in extractions.outcomes if not isinstance(one, SkerryError)]
        took_s = extractions.inference_s + max(decoded, default=0.0)
        self._call_s += NEWEST_WEIGHS * (took_s - self._call_s)

    def _note_idle(self) -> None:
        if not self._waiting and not self._tasks:
            self._idle.set()


def _fail(item: Waiting, error: BaseException) -> None:
    if not item.answer.done():
        item.answer.set_exception(error)
