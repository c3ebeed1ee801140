"""Slots are given in order, at once, and never more of them than there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from skerry.errors import DeadlineExceeded, ModelUnavailable, Overloaded, ServiceUnavailable
from skerry.generation.base import (
    Delta,
    Event,
    Finished,
    GenerationRequest,
    GeneratorInfo,
    Sampling,
)
from skerry.generation.slots import Slots
from skerry.metrics import Metrics

MODEL = "scripted"
INFO = GeneratorInfo(
    model=MODEL, engine="remote", device="cpu", slots=2, context=100, chat=True, tools=False,
    logprobs=False, grammar=False,
)  # fmt: skip


class Scripted:
    """A generator that writes a piece whenever the test says so."""

    def __init__(self) -> None:
        self.info = INFO
        self.begun: list[str] = []
        self.left: list[str] = []
        self.most = 0
        self.go = asyncio.Event()
        self.closed = False

    async def open(self) -> None: ...

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        name = str(request.prompt)
        if name == "fails":
            raise ModelUnavailable("died")
        self.begun.append(name)
        self.most = max(self.most, len(self.begun) - len(self.left))
        try:
            yield Delta(text="first")
            await self.go.wait()
            yield Delta(text="last")
            yield Finished(reason="stop", prompt_tokens=7, completion_tokens=3)
        finally:
            self.left.append(name)

    async def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def generator() -> Scripted:
    return Scripted()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def slots(generator: Scripted, metrics: Metrics) -> Slots:
    return Slots(generator, queue=2, metrics=metrics)


def request(name: str = "x") -> GenerationRequest:
    return GenerationRequest(prompt=name, sampling=Sampling())


def in_s(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def read(slots: Slots, name: str = "x", *, within_s: float = 30.0) -> list[Event]:
    return [event async for event in slots.generate(request(name), deadline=in_s(within_s))]


async def start(slots: Slots, *names: str) -> list[asyncio.Task[list[Event]]]:
    """Readers that have come as far as they can."""
    tasks = []
    for name in names:
        tasks.append(asyncio.create_task(read(slots, name)))
        for _ in range(5):
            await asyncio.sleep(0)
    return tasks


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, {"model": MODEL, **labels}) or 0.0


async def test_no_more_run_than_there_are_slots_and_the_others_come_in_order(
    slots: Slots, generator: Scripted
) -> None:
    tasks = await start(slots, "a", "b", "c", "d")
    assert generator.begun == ["a", "b"]
    assert (slots.running, slots.waiting) == (2, 2)
    generator.go.set()
    answers = await asyncio.gather(*tasks)
    assert generator.begun == ["a", "b", "c", "d"]
    assert generator.most == 2
    assert all(isinstance(answer[-1], Finished) for answer in answers)
    assert (slots.running, slots.waiting) == (0, 0)


async def test_full_queue_is_refused_with_retry_after(slots: Slots, metrics: Metrics) -> None:
    tasks = await start(slots, "a", "b", "c", "d")
    with pytest.raises(Overloaded) as caught:
        await read(slots)
    assert caught.value.retry_after_s and caught.value.retry_after_s > 0
    assert value(metrics, "skerry_refused_total", reason="queue_full") == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (slots.running, slots.waiting) == (0, 0)


async def test_retry_after_grows_with_what_answers_really_take(
    slots: Slots, generator: Scripted
) -> None:
    generator.go.set()
    for _ in range(30):
        await read(slots)
    quick = slots.retry_after_s()
    assert quick < 1
    generator.go.clear()
    tasks = await start(slots, "a", "b", "c")
    assert slots.retry_after_s() >= quick
    generator.go.set()
    await asyncio.gather(*tasks)


async def test_who_leaves_gives_the_slot_on_at_once(slots: Slots, generator: Scripted) -> None:
    async with aclosing(slots.generate(request("a"), deadline=in_s(30))) as events:
        assert await anext(events) == Delta(text="first")
        tasks = await start(slots, "b", "c")
        assert generator.begun == ["a", "b"]
    assert generator.left == ["a"]
    for _ in range(5):
        await asyncio.sleep(0)
    assert generator.begun == ["a", "b", "c"]
    generator.go.set()
    await asyncio.gather(*tasks)


async def test_who_is_cancelled_while_it_waits_takes_no_slot(
    slots: Slots, generator: Scripted
) -> None:
    first, second, waiting, last = await start(slots, "a", "b", "c", "d")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    generator.go.set()
    await asyncio.gather(first, second, last)
    assert generator.begun == ["a", "b", "d"]


async def test_a_slot_given_to_who_goes_away_in_that_moment_is_not_lost(
    slots: Slots, generator: Scripted
) -> None:
    first, second, waiting = await start(slots, "a", "b", "c")
    generator.go.set()
    await asyncio.gather(first, second)  # the slot of one is now the waiting one's
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (slots.running, slots.waiting) == (0, 0)
    assert await read(slots, "d")


async def test_the_deadline_is_for_the_wait_and_not_for_the_answer(
    slots: Slots, generator: Scripted, metrics: Metrics
) -> None:
    early = asyncio.create_task(read(slots, "a", within_s=0.05))
    tasks = await start(slots, "b")
    with pytest.raises(DeadlineExceeded) as caught:
        await read(slots, "late", within_s=0.1)
    assert caught.value.retry_after_s
    with pytest.raises(DeadlineExceeded):
        await read(slots, "later", within_s=-1)
    assert value(metrics, "skerry_refused_total", reason="deadline") == 2
    generator.go.set()
    assert len(await early) == 3
    await asyncio.gather(*tasks)


async def test_a_failing_answer_frees_its_slot(slots: Slots, generator: Scripted) -> None:
    for _ in range(5):
        with pytest.raises(ModelUnavailable):
            await read(slots, "fails")
    assert (slots.running, slots.waiting) == (0, 0)
    generator.go.set()
    assert await read(slots)


async def test_close_refuses_who_waits_and_lets_answers_end(
    slots: Slots, generator: Scripted
) -> None:
    first, second, waiting = await start(slots, "a", "b", "c")
    closing = asyncio.create_task(slots.close())
    with pytest.raises(ServiceUnavailable, match="closing"):
        await waiting
    with pytest.raises(ServiceUnavailable, match="closing"):
        await read(slots, "d")
    assert not generator.closed
    generator.go.set()
    await closing
    assert generator.closed
    for answer in await asyncio.gather(first, second):
        assert isinstance(answer[-1], Finished)


async def test_close_waits_no_longer_than_it_is_told(slots: Slots, generator: Scripted) -> None:
    tasks = await start(slots, "a")
    await slots.close(drain_s=0.05)
    assert generator.closed
    tasks[0].cancel()


async def test_tokens_and_depth_are_counted(
    slots: Slots, generator: Scripted, metrics: Metrics
) -> None:
    tasks = await start(slots, "a", "b", "c")
    assert value(metrics, "skerry_queue_depth") == 3
    generator.go.set()
    await asyncio.gather(*tasks)
    generator.go.clear()
    async with aclosing(slots.generate(request(), deadline=in_s(30))) as events:
        await anext(events)
    assert value(metrics, "skerry_queue_depth") == 0
    assert value(metrics, "skerry_prompt_tokens_total") == 21
    assert value(metrics, "skerry_generated_tokens_total") == 3 * 3 + 1
    assert value(metrics, "skerry_time_to_first_token_seconds_count") == 4


async def test_tokens_of_a_text_are_counted_without_a_slot(slots: Slots) -> None:
    tasks = await start(slots, "a", "b", "c", "d")
    assert await slots.count_tokens("three little words") == 3
    for task in tasks:
        task.cancel()
