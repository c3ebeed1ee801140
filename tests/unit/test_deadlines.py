"""Many waits, one timer: each ends by its own deadline, and nobody else's."""

from __future__ import annotations

import asyncio

import pytest

from skerry.deadlines import CHECK_S, Deadlines


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_wait_ends_within_a_check_of_its_deadline() -> None:
    began = now()
    with pytest.raises(TimeoutError), Deadlines().at(began + 0.05):
        await asyncio.sleep(30)
    assert 0.05 <= now() - began < 0.05 + 2 * CHECK_S + 1


async def test_only_the_overdue_are_ended_and_the_others_are_looked_at_again() -> None:
    deadlines = Deadlines()
    ended: list[str] = []

    async def wait(name: str, seconds: float) -> None:
        try:
            with deadlines.at(now() + seconds):
                await asyncio.sleep(30)
        except TimeoutError:
            ended.append(name)

    async with asyncio.timeout(10):
        await asyncio.gather(wait("late", 4 * CHECK_S), wait("soon", CHECK_S / 2))
    assert ended == ["soon", "late"]


async def test_a_wait_that_is_over_is_not_ended() -> None:
    deadlines = Deadlines()
    with deadlines.at(now() + CHECK_S / 2):
        await asyncio.sleep(0)
    await asyncio.sleep(3 * CHECK_S)


async def test_a_deadline_can_be_moved_while_one_waits() -> None:
    with Deadlines().at(now() + 3 * CHECK_S) as wait:
        for _ in range(10):
            await asyncio.sleep(CHECK_S / 2)
            wait.until = now() + 3 * CHECK_S


async def test_another_cancellation_goes_on_as_such() -> None:
    async def wait() -> None:
        with Deadlines().at(now() + 30):
            await asyncio.sleep(30)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_goes_on_after_its_deadline_as_if_never_cancelled() -> None:
    with pytest.raises(TimeoutError), Deadlines().at(now()):
        await asyncio.sleep(30)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_an_error_in_the_block_stays_what_it_is() -> None:
    with pytest.raises(KeyError), Deadlines().at(now() + 30):
        raise KeyError
