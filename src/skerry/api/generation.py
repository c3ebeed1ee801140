"""Run the generations one request asks for, side by side, and end them with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from skerry.api.contract import Exchange
from skerry.generation.base import Event, Finished, GenerationRequest, TokenLogprob
from skerry.generation.slots import Slots
from skerry.pipelines.answers.timed_events import timed_events


@dataclass(slots=True)
class Written:
    """One answer, whole."""

    texts: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finished: Finished | None = None

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.texts)

    @property
    def end(self) -> Finished:
        """How it ended, with its counts."""
        if self.finished is None:
            raise RuntimeError("The generator ended without saying how.")
        return self.finished

    def add(self, event: Event) -> None:
        """Take the next event."""
        if isinstance(event, Finished):
            self.finished = event
        else:
            self.texts.append(event.text)
            self.logprobs += event.logprobs


async def write_all(
    slots: Slots, requests: Sequence[GenerationRequest], exchange: Exchange
) -> list[Written]:
    """The answer to each request, whole."""
    written = [Written() for _ in requests]
    async with aclosing(events_of(slots, requests, exchange)) as events:
        async for index, event in events:
            written[index].add(event)
    return written


async def events_of(
    slots: Slots, requests: Sequence[GenerationRequest], exchange: Exchange
) -> AsyncGenerator[tuple[int, Event], None]:
    """(index of the request, event) as they come; closing it ends every generation.

    Raises what `Slots.generate` raises, DeadlineExceeded beyond `generation.deadline_s`.
    """
    if len(requests) == 1:
        async with aclosing(_events(slots, requests[0], exchange)) as events:
            async for event in events:
                yield 0, event
        return
    # Its own generations wait here for one another, outside the queue that others share.
    gate = asyncio.Semaphore(slots.info.slots)
    arrived: asyncio.Queue[tuple[int, Event | Exception]] = asyncio.Queue(maxsize=len(requests))

    async def pump(index: int, request: GenerationRequest) -> None:
        try:
            async with gate, aclosing(_events(slots, request, exchange)) as events:
                async for event in events:
                    await arrived.put((index, event))
        except Exception as error:  # Raised below, where somebody reads.
            await arrived.put((index, error))

    pumps = [asyncio.create_task(pump(i, request)) for i, request in enumerate(requests)]
    try:
        left = len(requests)
        while left:
            index, happened = await arrived.get()
            if isinstance(happened, Exception):
                raise happened
            left -= isinstance(happened, Finished)
            yield index, happened
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


def _events(
    slots: Slots, request: GenerationRequest, exchange: Exchange
) -> AsyncGenerator[Event, None]:
    settings = exchange.node.settings
    return timed_events(
        slots,
        request,
        wait_s=settings.limits.deadline_s,
        write_s=settings.generation.deadline_s,
    )
