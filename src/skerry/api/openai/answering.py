"""Answer as OpenAI's text paths do: whole, or as events that end with the usage and [DONE]."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from skerry.api.contract import AnyAnswer, Exchange, StreamAnswer, json_answer
from skerry.api.generation import Written, events_of, write_all
from skerry.api.openai.wire import (
    DONE,
    Usage,
    failed_event,
    fingerprint,
    new_id,
    now,
    usage,
)
from skerry.api.streaming import sse_event, started, while_connected
from skerry.generation.base import Event, Finished, GenerationRequest, GeneratorInfo


@dataclass(frozen=True, slots=True)
class Head:
    """What an answer, or every event of it, says of itself."""

    id: str
    created: int
    model: str
    fingerprint: str
    no_usage: UnsetType | None
    """The usage of an event that has none: null where the last one will have it."""


class Wording(Protocol):
    """How a path words one answer, whole or piece by piece."""

    prefix: ClassVar[str]
    """Of the answer's id."""

    def __init__(self, head: Head) -> None: ...

    def whole(self, written: Sequence[Written], total: Usage) -> msgspec.Struct:
        """All choices, in their order."""
        ...

    def pieces(self, index: int, happened: Event) -> Iterable[msgspec.Struct]:
        """What one event of the generator becomes; maybe nothing."""
        ...

    def last(self, total: Usage) -> msgspec.Struct:
        """The event that tells the usage."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """A request that has been read and checked."""

    model: str | None
    requests: Sequence[GenerationRequest]
    choices: int
    """How many in a row answer the same prompt."""
    check: Callable[[GeneratorInfo], None]
    """Refuses, by name, what the model lacks."""
    wording: type[Wording]
    stream: bool
    with_usage: bool


async def answer(order: Order, exchange: Exchange) -> AnyAnswer:
    """The answer, whole or as it comes; what fails before its first piece is raised here."""
    if order.stream:
        return StreamAnswer(
            await started(_stream(order, exchange), exchange),
            failed_event(exchange),
        )
    async with while_connected(exchange), exchange.node.texts.generator(order.model) as slots:
        order.check(slots.info)
        written = await write_all(slots, order.requests, exchange)
    total = usage([one.end for one in written], choices=order.choices)
    return json_answer(_wording(order, slots.info).whole(written, total))


async def _stream(order: Order, exchange: Exchange) -> AsyncGenerator[bytes, None]:
    async with exchange.node.texts.generator(order.model) as slots:
        order.check(slots.info)
        wording = _wording(order, slots.info)
        ends: dict[int, Finished] = {}
        async with aclosing(events_of(slots, order.requests, exchange)) as events:
            async for index, happened in events:
                for piece in wording.pieces(index, happened):
                    yield sse_event(piece)
                if isinstance(happened, Finished):
                    ends[index] = happened
        if order.with_usage:
            total = usage([ends[i] for i in sorted(ends)], choices=order.choices)
            yield sse_event(wording.last(total))
        yield DONE


def _wording(order: Order, info: GeneratorInfo) -> Wording:
    return order.wording(
        Head(
            id=new_id(order.wording.prefix),
            created=now(),
            model=info.model,
            fingerprint=fingerprint(info),
            no_usage=None if order.with_usage else UNSET,
        )
    )
