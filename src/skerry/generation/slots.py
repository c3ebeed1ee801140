"""Admit requests to a language model: a slot each, a bounded queue, a slot given on at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress

from skerry.errors import DeadlineExceeded, Overloaded, ServiceUnavailable
from skerry.generation.base import (
    Event,
    Finished,
    GenerationRequest,
    Generator,
    GeneratorInfo,
)
from skerry.metrics import Metrics

FIRST_GUESS_S = 5.0
"""Time of one answer, until one was measured."""
NEWEST_WEIGHS = 0.2
MIN_RETRY_AFTER_S = 0.5
MAX_RETRY_AFTER_S = 120.0
DRAIN_S = 10.0


class Slots:
    """Lets as many requests to the generator as it has slots; at most `queue` more wait."""

    def __init__(self, generator: Generator, *, queue: int, metrics: Metrics) -> None:
        self._generator = generator
        self._limit = queue
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._answer_s = FIRST_GUESS_S
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        name = generator.info.model
        self._depth = metrics.queue_depth.labels(name)
        self._first_token = metrics.time_to_first_token.labels(name)
        self._prompt_tokens = metrics.prompt_tokens.labels(name)
        self._generated_tokens = metrics.generated_tokens.labels(name)
        self._refused = {
            reason: metrics.refused.labels(name, reason)
            for reason in ("queue_full", "deadline", "closing")
        }

    @property
    def info(self) -> GeneratorInfo:
        """What runs."""
        return self._generator.info

    @property
    def running(self) -> int:
        """Slots in use."""
        return self._running

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return len(self._waiting)

    async def generate(
        self, request: GenerationRequest, *, deadline: float
    ) -> AsyncGenerator[Event, None]:
        """The answer as it comes, once a slot is free before `deadline` (`loop.time()` seconds).

        Closing the iterator frees the slot at once. Raises Overloaded when the queue is full,
        DeadlineExceeded, ServiceUnavailable once closing, and what the generator raises.
        """
        asked = asyncio.get_running_loop().time()
        async with self._slot(deadline), aclosing(self._counted(request, asked)) as events:
            async for event in events:
                yield event

    async def count_tokens(self, text: str) -> int:
        """Tokens of a plain text; takes no slot."""
        return await self._generator.count_tokens(text)

    def retry_after_s(self) -> float:
        """Time in which a slot should be free for one more request."""
        ahead = len(self._waiting) + 1
        wait_s = ahead * self._answer_s / self.info.slots
        return round(min(max(wait_s, MIN_RETRY_AFTER_S), MAX_RETRY_AFTER_S), 1)

    async def close(self, *, drain_s: float = DRAIN_S) -> None:
        """Refuse what waits, let answers under way end for `drain_s`, then close the generator."""
        self._closing = True
        for waiter in self._waiting:
            if not waiter.done():
                self._refused["closing"].inc()
                waiter.set_exception(_closing())
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self._idle.wait()
        await self._generator.close()

    @asynccontextmanager
    async def _slot(self, deadline: float) -> AsyncGenerator[None, None]:
        loop = asyncio.get_running_loop()
        self._admit(loop.time() < deadline)
        with self._depth.track_inprogress():
            await self._take(deadline)
            began = loop.time()
            try:
                yield
            finally:
                self._answer_s += NEWEST_WEIGHS * (loop.time() - began - self._answer_s)
                self._give_on()

    def _admit(self, in_time: bool) -> None:
        if self._closing:
            self._refused["closing"].inc()
            raise _closing()
        if not in_time:
            self._refused["deadline"].inc()
            raise self._too_late()
        if self._running >= self.info.slots and len(self._waiting) >= self._limit:
            self._refused["queue_full"].inc()
            raise Overloaded(
                f"{len(self._waiting)} requests already wait for the language model.",
                retry_after_s=self.retry_after_s(),
            )

    async def _take(self, deadline: float) -> None:
        if self._running < self.info.slots and not self._waiting:
            self._running += 1
            self._idle.clear()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(deadline):
                await turn
        except TimeoutError as error:
            self._refused["deadline"].inc()
            raise self._too_late() from error
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._give_on()  # it came while its owner went away
            raise
        finally:
            with suppress(ValueError):
                self._waiting.remove(turn)

    def _give_on(self) -> None:
        """Hand the slot to who waits longest; it is never free in between."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._running -= 1
        if self._running == 0:
            self._idle.set()

    async def _counted(
        self, request: GenerationRequest, asked: float
    ) -> AsyncGenerator[Event, None]:
        loop = asyncio.get_running_loop()
        deltas = 0
        async with aclosing(self._generator.generate(request)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    self._prompt_tokens.inc(event.prompt_tokens)
                    self._generated_tokens.inc(max(0, event.completion_tokens - deltas))
                elif event.text:
                    if deltas == 0:
                        self._first_token.observe(loop.time() - asked)
                    # Each piece of text is a token at least; the end tells of those beyond.
                    deltas += 1
                    self._generated_tokens.inc()
                yield event

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            "No slot of the language model was free within the request's deadline.",
            retry_after_s=self.retry_after_s(),
        )


def _closing() -> ServiceUnavailable:
    return ServiceUnavailable("The language model is closing.", retry_after_s=1.0)
