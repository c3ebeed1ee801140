"""The gate: many pass, one closes it."""

from __future__ import annotations

import asyncio

from skerry.pipelines.gate import Gate


async def test_closing_waits_for_those_inside_and_holds_back_the_next() -> None:
    gate, order, leave = Gate(), [], asyncio.Event()

    async def first() -> None:
        async with gate.passing():
            order.append("first in")
            await leave.wait()
            order.append("first out")

    async def close() -> None:
        async with gate.closed():
            order.append("closed")
            await asyncio.sleep(0)
            order.append("open again")

    async def second() -> None:
        async with gate.passing():
            order.append("second in")

    tasks = [asyncio.create_task(first())]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(close()), asyncio.create_task(second())]
    await asyncio.sleep(0)
    leave.set()
    await asyncio.gather(*tasks)
    assert order == ["first in", "first out", "closed", "open again", "second in"]


async def test_many_pass_at_once() -> None:
    gate, inside, most = Gate(), 0, 0

    async def one() -> None:
        nonlocal inside, most
        async with gate.passing():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(one() for _ in range(5)))
    assert most == 5


async def test_an_error_inside_does_not_keep_the_gate_from_closing() -> None:
    gate = Gate()
    try:
        async with gate.passing():
            raise ValueError
    except ValueError:
        pass
    async with asyncio.timeout(1), gate.closed():
        pass
