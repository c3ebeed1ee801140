"""The batcher in front of a runner whose pace the test sets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.errors import (
    DeadlineExceeded,
    ImageUnreadable,
    ModelUnavailable,
    Overloaded,
    ServiceUnavailable,
    SkerryError,
)
from skerry.inference.base import EngineInfo, Extracted, Extractions
from skerry.inference.batcher import Batcher
from skerry.metrics import Metrics


class GatedRunner:
    """Gives each image back; a call ends when the test opens the gate.

    An image that begins with "unreadable" has no features, and "fatal" fails its whole call.
    """

    def __init__(self, *, streams: int = 1, calls: int = 0, max_batch: int = 1) -> None:
        self.info = EngineInfo("gated", "test", "cpu", "fp32", "f", "s")
        self.streams = streams
        self.calls = calls or streams
        self.max_batch = max_batch
        self.gate = asyncio.Semaphore(0)
        self.batches: list[int] = []
        self.running = 0
        self.most_running = 0

    async def run(self, images: Sequence[bytes]) -> Extractions:
        self.batches.append(len(images))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await self.gate.acquire()
        self.running -= 1
        if any(image.startswith(b"fatal") for image in images):
            raise ModelUnavailable("a fatal image")
        return Extractions([self._outcome(image) for image in images], 0.01)

    async def close(self) -> None: ...

    def open(self, calls: int = 1000) -> None:
        for _ in range(calls):
            self.gate.release()

    @staticmethod
    def _outcome(image: bytes) -> Extracted | SkerryError:
        if image.startswith(b"unreadable"):
            return ImageUnreadable("no image")
        return Extracted(image, 0.001)


def image(number: int) -> bytes:
    return str(number).encode()


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def soon(seconds: float = 20.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the engine runs in threads
            await asyncio.sleep(0.001)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


async def test_no_more_calls_are_under_way_than_the_runner_wants(metrics: Metrics) -> None:
    runner = GatedRunner(streams=3)
    batcher = Batcher(runner, metrics=metrics, queue=100)
    tasks = [asyncio.create_task(batcher.submit(image(i), deadline=soon())) for i in range(20)]
    await until(lambda: runner.running == 3)
    runner.open()
    answers = await asyncio.gather(*tasks)
    assert [answer.packed for answer in answers] == [image(i) for i in range(20)]
    assert runner.most_running == 3
    assert runner.batches == [1] * 20
    await batcher.close()


async def test_an_idle_engine_starts_at_once(metrics: Metrics) -> None:
    runner = GatedRunner(max_batch=8)
    batcher = Batcher(runner, metrics=metrics, queue=8, max_delay_ms=60_000)
    task = asyncio.create_task(batcher.submit(image(1), deadline=soon()))
    await until(lambda: runner.running == 1)
    runner.open()
    assert (await task).packed == image(1)
    await batcher.close()


async def test_what_waits_behind_a_call_is_joined_up_to_the_maximum(metrics: Metrics) -> None:
    runner = GatedRunner(max_batch=8)
    batcher = Batcher(runner, metrics=metrics, queue=100)
    tasks = [asyncio.create_task(batcher.submit(image(i), deadline=soon())) for i in range(18)]
    await until(lambda: runner.running == 1)
    runner.open()
    answers = await asyncio.gather(*tasks)
    assert runner.batches == [1, 8, 8, 1]
    assert [answer.packed for answer in answers] == [image(i) for i in range(18)]
    await batcher.close()


async def test_an_incomplete_batch_goes_after_the_delay_when_no_stream_is_idle(
    metrics: Metrics,
) -> None:
    runner = GatedRunner(streams=1, calls=2, max_batch=8)
    batcher = Batcher(runner, metrics=metrics, queue=100, max_delay_ms=30)
    first = asyncio.create_task(batcher.submit(image(0), deadline=soon()))
    await until(lambda: runner.running == 1)
    began = time.perf_counter()
    rest = [asyncio.create_task(batcher.submit(image(i), deadline=soon())) for i in (1, 2)]
    await until(lambda: runner.running == 2)
    assert time.perf_counter() - began >= 0.029
    assert runner.batches == [1, 2]
    runner.open()
    await asyncio.gather(first, *rest)
    await batcher.close()


async def test_an_idle_stream_waits_for_no_company(metrics: Metrics) -> None:
    runner = GatedRunner(streams=2, max_batch=8)
    batcher = Batcher(runner, metrics=metrics, queue=100, max_delay_ms=60_000)
    first = asyncio.create_task(batcher.submit(image(0), deadline=soon()))
    await until(lambda: runner.running == 1)
    second = asyncio.create_task(batcher.submit(image(1), deadline=soon()))
    await until(lambda: runner.running == 2)
    runner.open()
    await asyncio.gather(first, second)
    await batcher.close()


async def test_full_queue_is_refused_with_retry_after(metrics: Metrics) -> None:
    runner = GatedRunner()
    batcher = Batcher(runner, metrics=metrics, queue=2)
    tasks = [asyncio.create_task(batcher.submit(image(i), deadline=soon())) for i in range(3)]
    await until(lambda: runner.running == 1)
    with pytest.raises(Overloaded) as caught:
        await batcher.submit(image(9), deadline=soon())
    assert caught.value.retry_after_s > 0
    assert sample(metrics, "skerry_refused_total", model="gated", reason="queue_full") == 1
    assert sample(metrics, "skerry_queue_depth", model="gated") == 3
    runner.open()
    assert len(await asyncio.gather(*tasks)) == 3
    assert (await batcher.submit(image(4), deadline=soon())).packed == image(4)
    await batcher.close()


async def test_retry_after_grows_with_the_queue_and_the_measured_time(metrics: Metrics) -> None:
    runner = GatedRunner()
    batcher = Batcher(runner, metrics=metrics, queue=50)
    empty = batcher.retry_after_s()
    tasks = [asyncio.create_task(batcher.submit(image(i), deadline=soon())) for i in range(40)]
    await until(lambda: runner.running == 1)
    before = batcher.retry_after_s()
    assert before > empty
    runner.open(39)  # each reports 10 ms, less than the first guess
    await until(lambda: len(runner.batches) == 40)
    rest = [asyncio.create_task(batcher.submit(image(i), deadline=soon())) for i in range(39)]
    await asyncio.sleep(0)
    assert batcher.retry_after_s() < before
    runner.open()
    await asyncio.gather(*tasks, *rest)
    await batcher.close()


async def test_a_deadline_that_passed_is_refused_before_any_work(metrics: Metrics) -> None:
    runner = GatedRunner()
    batcher = Batcher(runner, metrics=metrics, queue=2)
    with pytest.raises(DeadlineExceeded):
        await batcher.submit(image(0), deadline=soon(-0.001))
    assert runner.batches == []
    assert sample(metrics, "skerry_refused_total", model="gated", reason="deadline") == 1
    await batcher.close()


async def test_a_waiting_item_whose_deadline_passes_never_reaches_the_engine(
    metrics: Metrics,
) -> None:
    runner = GatedRunner()
    batcher = Batcher(runner, metrics=metrics, queue=2)
    first = asyncio.create_task(batcher.submit(image(0), deadline=soon()))
    await until(lambda: runner.running == 1)
    with pytest.raises(DeadlineExceeded):
        await batcher.submit(image(1), deadline=soon(0.02))
    runner.open()
    await first
    await batcher.close()
    assert runner.batches == [1]
    assert sample(metrics, "skerry_refused_total", model="gated", reason="deadline") == 1


async def test_a_cancelled_callers_place_is_free_only_when_the_work_ends(
    metrics: Metrics,
) -> None:
    runner = GatedRunner()
    batcher = Batcher(runner, metrics=metrics, queue=1)
    running = asyncio.create_task(batcher.submit(image(0), deadline=soon()))
    await until(lambda: runner.running == 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    # The engine still works: one may wait, the next is refused.
    waits = asyncio.create_task(batcher.submit(image(1), deadline=soon()))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await batcher.submit(image(2), deadline=soon())
    assert runner.most_running == 1
    runner.open()
    assert (await waits).packed == image(1)
    await batcher.close()


async def test_a_cancelled_waiting_item_leaves_its_place_at_once(metrics: Metrics) -> None:
    runner = GatedRunner()
    batcher = Batcher(runner, metrics=metrics, queue=1)
    running = asyncio.create_task(batcher.submit(image(0), deadline=soon()))
    await until(lambda: runner.running == 1)
    waits = asyncio.create_task(batcher.submit(image(1), deadline=soon()))
    await asyncio.sleep(0)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    other = asyncio.create_task(batcher.submit(image(2), deadline=soon()))
    await asyncio.sleep(0)
    runner.open()
    assert (await running).packed == image(0)
    assert (await other).packed == image(2)
    assert runner.batches == [1, 1]
    await batcher.close()


async def test_a_failing_batch_fails_only_its_own(metrics: Metrics) -> None:
    runner = GatedRunner(max_batch=4)
    batcher = Batcher(runner, metrics=metrics, queue=100)
    images = [image(0), b"fatal", *(image(i) for i in range(2, 9))]  # the second call fails
    tasks = [asyncio.create_task(batcher.submit(one, deadline=soon())) for one in images]
    await until(lambda: runner.running == 1)
    runner.open()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    failed = [i for i, result in enumerate(results) if isinstance(result, ModelUnavailable)]
    assert failed == [1, 2, 3, 4]
    assert [results[i].packed for i in (0, 5, 6, 7, 8)] == [image(i) for i in (0, 5, 6, 7, 8)]
    await batcher.close()


async def test_an_unreadable_image_fails_alone_in_its_batch(metrics: Metrics) -> None:
    runner = GatedRunner(max_batch=4)
    batcher = Batcher(runner, metrics=metrics, queue=100)
    images = [image(0), image(1), b"unreadable", image(3)]
    tasks = [asyncio.create_task(batcher.submit(one, deadline=soon())) for one in images]
    await until(lambda: runner.running == 1)
    runner.open()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert runner.batches == [1, 3]
    assert isinstance(results[2], ImageUnreadable)
    assert [results[i].packed for i in (0, 1, 3)] == [image(i) for i in (0, 1, 3)]
    await batcher.close()


async def test_close_finishes_what_was_admitted_and_refuses_what_comes(metrics: Metrics) -> None:
    runner = GatedRunner()
    batcher = Batcher(runner, metrics=metrics, queue=10)
    tasks = [asyncio.create_task(batcher.submit(image(i), deadline=soon())) for i in range(5)]
    await until(lambda: runner.running == 1)
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    with pytest.raises(ServiceUnavailable) as caught:
        await batcher.submit(image(9), deadline=soon())
    assert not isinstance(caught.value, Overloaded)
    assert not closing.done()
    runner.open()
    assert [one.packed for one in await asyncio.gather(*tasks)] == [image(i) for i in range(5)]
    await closing
    assert runner.running == 0


async def test_close_waits_for_work_whose_caller_has_gone(metrics: Metrics) -> None:
    runner = GatedRunner()
    batcher = Batcher(runner, metrics=metrics, queue=10)
    task = asyncio.create_task(batcher.submit(image(1), deadline=soon()))
    await until(lambda: runner.running == 1)
    task.cancel()
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    runner.open()
    await closing
    assert runner.running == 0


KINDS = {"submit": b"", "fail": b"fatal", "refuse": b"unreadable"}


@settings(max_examples=40, deadline=None)
@given(
    streams=st.integers(1, 3),
    max_batch=st.integers(1, 5),
    queue=st.integers(0, 12),
    steps=st.lists(
        st.tuples(
            st.sampled_from([*KINDS, "cancel", "open", "tick"]),
            st.integers(0, 9),
        ),
        max_size=40,
    ),
)
def test_whatever_happens_every_caller_is_answered_and_the_count_returns_to_zero(
    streams: int, max_batch: int, queue: int, steps: list[tuple[str, int]]
) -> None:
    asyncio.run(play(streams, max_batch, queue, steps))


async def play(streams: int, max_batch: int, queue: int, steps: list[tuple[str, int]]) -> None:
    metrics = Metrics()
    runner = GatedRunner(streams=streams, max_batch=max_batch)
    batcher = Batcher(runner, metrics=metrics, queue=queue, max_delay_ms=1)
    tasks: list[tuple[bytes, asyncio.Task]] = []
    for action, number in steps:
        if action in KINDS:
            sent = KINDS[action] + image(len(tasks))
            tasks.append((sent, asyncio.create_task(batcher.submit(sent, deadline=soon()))))
        elif action == "cancel" and tasks:
            tasks[number % len(tasks)][1].cancel()
        elif action == "open":
            runner.open(number + 1)
        else:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    runner.open()
    results = await asyncio.gather(*(task for _, task in tasks), return_exceptions=True)
    await batcher.close()
    for (sent, _), result in zip(tasks, results, strict=True):
        allowed = (Overloaded, ModelUnavailable, ImageUnreadable, asyncio.CancelledError)
        assert isinstance(result, allowed) or result.packed == sent
        assert sent.isdigit() or isinstance(result, allowed)
    assert runner.most_running <= streams
    assert max(runner.batches, default=0) <= max_batch
    assert sample(metrics, "skerry_queue_depth", model="gated") == 0
