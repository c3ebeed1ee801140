"""Who waits for a seq is woken when it is reached, and not before."""

import asyncio

import pytest

from skerry.errors import IndexUnavailable
from skerry.index.watermark import Watermark


async def waiting(mark, *values):
    tasks = [asyncio.create_task(mark.reach(value)) for value in values]
    await asyncio.sleep(0)
    return tasks


async def settle():
    for _ in range(3):
        await asyncio.sleep(0)


async def test_those_who_wait_are_woken_at_their_value():
    mark = Watermark()
    tasks = await waiting(mark, 0, 5, 6, 5)
    mark.set(5)
    await settle()
    assert [task.done() for task in tasks] == [True, True, False, True]
    mark.set(9)
    await asyncio.gather(*tasks)
    await mark.reach(9)


async def test_mark_that_falls_before_the_waiter_runs_lets_it_wait_on():
    mark = Watermark()
    (task,) = await waiting(mark, 5)
    mark.set(5)
    mark.set(2)
    await settle()
    assert not task.done()
    mark.set(5)
    await task


async def test_end_raises_in_all_and_for_ever():
    mark = Watermark()
    mark.set(3)
    tasks = await waiting(mark, 4, 5)
    mark.end(IndexUnavailable("closed"))
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, IndexUnavailable)
    with pytest.raises(IndexUnavailable):
        await mark.reach(1)


async def test_nothing_is_kept_of_those_who_gave_up():
    mark = Watermark()
    for task in await waiting(mark, 1, 2, 3):
        task.cancel()
    await settle()
    assert not mark._waiting
