"""Read a language model's events, and give up on an answer that takes too long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from skerry.errors import DeadlineExceeded
from skerry.generation.base import Event, Finished, GenerationRequest
from skerry.generation.slots import Slots


async def timed_events(
    slots: Slots, request: GenerationRequest, *, wait_s: float, write_s: float
) -> AsyncGenerator[Event, None]:
    """The events of one answer, once a slot is free within `wait_s`; closing it ends the work.

    Raises what `Slots.generate` raises, and DeadlineExceeded when waiting and writing together
    take longer than `wait_s` and `write_s`.
    """
    deadline = asyncio.get_running_loop().time() + wait_s
    async with aclosing(slots.generate(request, deadline=deadline)) as events:
        while True:
            try:
                async with asyncio.timeout_at(deadline + write_s):
                    event = await anext(events)
            except TimeoutError:
                raise _too_slow(write_s) from None
            yield event
            if isinstance(event, Finished):
                return


def _too_slow(seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"The answer was not finished within {seconds:g} s.",
        remedy="Ask for fewer tokens, or raise generation.deadline_s.",
    )
