"""The batcher in front of real engines, and of one whose pace the test sets."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.backends import backend_class
from skerry.errors import DeadlineExceeded, ModelUnavailable, Overloaded, ServiceUnavailable
from skerry.inference.base import Engine, EngineInfo, EngineOutput, Float32
from skerry.inference.batcher import Batcher
from skerry.metrics import Metrics
from tiny_model import CLASSES, FEATURES, install_tiny, tiny_images


class GatedEngine:
    """Echoes each item's first value; a call ends when the test opens the gate."""

    def __init__(self, *, streams: int = 1, max_batch: int = 1) -> None:
        self.info = EngineInfo("gated", "test", "cpu", "fp32", "f", "s")
        self.streams = streams
        self.max_batch = max_batch
        self.gate = threading.Semaphore(0)
        self.started = threading.Semaphore(0)
        self.batches: list[int] = []
        self.running = 0
        self.most_running = 0
        self._lock = threading.Lock()

    def run(self, batch: Float32) -> EngineOutput:
        with self._lock:
            self.batches.append(len(batch))
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        self.started.release()
        assert self.gate.acquire(timeout=30)
        with self._lock:
            self.running -= 1
        values = batch.reshape(len(batch), -1)[:, :1]
        if (values < 0).any():
            raise ModelUnavailable("a negative image")
        return EngineOutput(values, values * 2, 0.01)

    def close(self) -> None: ...

    def open(self, calls: int = 1000) -> None:
        self.gate.release(calls)


def image(value: float) -> Float32:
    return np.full((3, 2, 2), value, np.float32)


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


@pytest.fixture(params=["openvino", "onnx"])
async def real(
    request: pytest.FixtureRequest, tmp_path: Path, metrics: Metrics
) -> AsyncIterator[Batcher]:
    model = install_tiny(tmp_path / "tiny")
    engine: Engine = backend_class("inference", request.param)(model, precision="fp32", threads=2)
    batcher = Batcher(engine, metrics=metrics, queue=1000)
    yield batcher
    await batcher.close()
    engine.close()


async def test_each_caller_gets_the_answer_to_its_own_image(
    real: Batcher, metrics: Metrics
) -> None:
    images = tiny_images(60)
    expected = [real.engine.run(one[None]) for one in images]
    answers = await asyncio.gather(*(real.submit(one, deadline=soon()) for one in images))
    for answer, output in zip(answers, expected, strict=True):
        assert (answer.logits.shape, answer.embedding.shape) == ((CLASSES,), (FEATURES,))
        np.testing.assert_allclose(answer.logits, output.logits[0], atol=1e-5)
        np.testing.assert_allclose(answer.embedding, output.embedding[0], atol=1e-5)
        assert answer.inference_s > 0
        assert answer.queue_s >= 0
    assert sample(metrics, "inference_duration_seconds_count", model="tiny") == 60
    assert sample(metrics, "skerry_queue_depth", model="tiny") == 0


async def test_a_real_engine_that_joins_gives_the_same_answers(
    tmp_path: Path, metrics: Metrics
) -> None:
    engine: Engine = backend_class("inference", "onnx")(
        install_tiny(tmp_path / "tiny"), precision="fp32", threads=1
    )
    engine.max_batch = 8
    batcher = Batcher(engine, metrics=metrics, queue=1000)
    images = tiny_images(60)
    answers = await asyncio.gather(*(batcher.submit(one, deadline=soon()) for one in images))
    logits = engine.run(images).logits
    np.testing.assert_allclose([answer.logits for answer in answers], logits, atol=1e-5)
    assert sample(metrics, "skerry_batch_size_count", model="tiny") < 30
    assert sample(metrics, "skerry_batch_size_sum", model="tiny") == 60
    await batcher.close()


async def test_no_more_calls_run_than_the_engine_has_streams(metrics: Metrics) -> None:
    engine = GatedEngine(streams=3)
    batcher = Batcher(engine, metrics=metrics, queue=100)
    tasks = [asyncio.create_task(batcher.submit(image(i), deadline=soon())) for i in range(20)]
    await until(lambda: engine.running == 3)
    engine.open()
    answers = await asyncio.gather(*tasks)
    assert [answer.logits[0] for answer in answers] == list(range(20))
    assert engine.most_running == 3
    assert engine.batches == [1] * 20
    await batcher.close()


async def test_an_idle_engine_starts_at_once(metrics: Metrics) -> None:
    engine = GatedEngine(max_batch=8)
    batcher = Batcher(engine, metrics=metrics, queue=8, max_delay_ms=60_000)
    task = asyncio.create_task(batcher.submit(image(1), deadline=soon()))
    await until(lambda: engine.running == 1)
    engine.open()
    assert (await task).logits[0] == 1
    await batcher.close()


async def test_what_waits_behind_a_call_is_joined_up_to_the_maximum(metrics: Metrics) -> None:
    engine = GatedEngine(max_batch=8)
    batcher = Batcher(engine, metrics=metrics, queue=100)
    tasks = [asyncio.create_task(batcher.submit(image(i), deadline=soon())) for i in range(18)]
    await until(lambda: engine.running == 1)
    engine.open()
    answers = await asyncio.gather(*tasks)
    assert engine.batches == [1, 8, 8, 1]
    assert [answer.logits[0] for answer in answers] == list(range(18))
    await batcher.close()


async def test_an_incomplete_batch_goes_after_the_delay_beside_a_running_call(
    metrics: Metrics,
) -> None:
    engine = GatedEngine(streams=2, max_batch=8)
    batcher = Batcher(engine, metrics=metrics, queue=100, max_delay_ms=30)
    first = asyncio.create_task(batcher.submit(image(0), deadline=soon()))
    await until(lambda: engine.running == 1)
    began = time.perf_counter()
    rest = [asyncio.create_task(batcher.submit(image(i), deadline=soon())) for i in (1, 2)]
    await until(lambda: engine.running == 2)
    assert time.perf_counter() - began >= 0.029
    assert engine.batches == [1, 2]
    engine.open()
    await asyncio.gather(first, *rest)
    await batcher.close()


async def test_full_queue_is_refused_with_retry_after(metrics: Metrics) -> None:
    engine = GatedEngine()
    batcher = Batcher(engine, metrics=metrics, queue=2)
    tasks = [asyncio.create_task(batcher.submit(image(i), deadline=soon())) for i in range(3)]
    await until(lambda: engine.running == 1)
    with pytest.raises(Overloaded) as caught:
        await batcher.submit(image(9), deadline=soon())
    assert caught.value.retry_after_s > 0
    assert sample(metrics, "skerry_refused_total", model="gated", reason="queue_full") == 1
    assert sample(metrics, "skerry_queue_depth", model="gated") == 3
    engine.open()
    assert len(await asyncio.gather(*tasks)) == 3
    assert (await batcher.submit(image(4), deadline=soon())).logits[0] == 4
    await batcher.close()


async def test_retry_after_grows_with_the_queue_and_the_measured_time(metrics: Metrics) -> None:
    engine = GatedEngine()
    batcher = Batcher(engine, metrics=metrics, queue=50)
    empty = batcher.retry_after_s()
    tasks = [asyncio.create_task(batcher.submit(image(i), deadline=soon())) for i in range(40)]
    await until(lambda: engine.running == 1)
    before = batcher.retry_after_s()
    assert before > empty
    engine.open(39)  # each reports 10 ms, less than the first guess
    await until(lambda: len(engine.batches) == 40)
    rest = [asyncio.create_task(batcher.submit(image(i), deadline=soon())) for i in range(39)]
    await asyncio.sleep(0)
    assert batcher.retry_after_s() < before
    engine.open()
    await asyncio.gather(*tasks, *rest)
    await batcher.close()


async def test_a_deadline_that_passed_is_refused_before_any_work(metrics: Metrics) -> None:
    engine = GatedEngine()
    batcher = Batcher(engine, metrics=metrics, queue=2)
    with pytest.raises(DeadlineExceeded):
        await batcher.submit(image(0), deadline=soon(-0.001))
    assert engine.batches == []
    assert sample(metrics, "skerry_refused_total", model="gated", reason="deadline") == 1
    await batcher.close()


async def test_a_waiting_item_whose_deadline_passes_never_reaches_the_engine(
    metrics: Metrics,
) -> None:
    engine = GatedEngine()
    batcher = Batcher(engine, metrics=metrics, queue=2)
    first = asyncio.create_task(batcher.submit(image(0), deadline=soon()))
    await until(lambda: engine.running == 1)
    with pytest.raises(DeadlineExceeded):
        await batcher.submit(image(1), deadline=soon(0.02))
    engine.open()
    await first
    await batcher.close()
    assert engine.batches == [1]
    assert sample(metrics, "skerry_refused_total", model="gated", reason="deadline") == 1


async def test_a_cancelled_callers_place_is_free_only_when_the_work_ends(
    metrics: Metrics,
) -> None:
    engine = GatedEngine()
    batcher = Batcher(engine, metrics=metrics, queue=1)
    running = asyncio.create_task(batcher.submit(image(0), deadline=soon()))
    await until(lambda: engine.running == 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    # The engine still works: one may wait, the next is refused.
    waits = asyncio.create_task(batcher.submit(image(1), deadline=soon()))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await batcher.submit(image(2), deadline=soon())
    assert engine.most_running == 1
    engine.open()
    assert (await waits).logits[0] == 1
    await batcher.close()


async def test_a_cancelled_waiting_item_leaves_its_place_at_once(metrics: Metrics) -> None:
    engine = GatedEngine()
    batcher = Batcher(engine, metrics=metrics, queue=1)
    running = asyncio.create_task(batcher.submit(image(0), deadline=soon()))
    await until(lambda: engine.running == 1)
    waits = asyncio.create_task(batcher.submit(image(1), deadline=soon()))
    await asyncio.sleep(0)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    other = asyncio.create_task(batcher.submit(image(2), deadline=soon()))
    await asyncio.sleep(0)
    engine.open()
    assert (await running).logits[0] == 0
    assert (await other).logits[0] == 2
    assert engine.batches == [1, 1]
    await batcher.close()


async def test_a_failing_batch_fails_only_its_own(metrics: Metrics) -> None:
    engine = GatedEngine(max_batch=4)
    batcher = Batcher(engine, metrics=metrics, queue=100)
    values = [0, -1, 2, 3, 4, 5, 6, 7, 8]  # the batch of -1, 2, 3, 4 fails
    tasks = [asyncio.create_task(batcher.submit(image(v), deadline=soon())) for v in values]
    await until(lambda: engine.running == 1)
    engine.open()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    failed = [i for i, result in enumerate(results) if isinstance(result, ModelUnavailable)]
    assert failed == [1, 2, 3, 4]
    assert [results[i].logits[0] for i in (0, 5, 6, 7, 8)] == [0, 5, 6, 7, 8]
    await batcher.close()


async def test_close_finishes_what_was_admitted_and_refuses_what_comes(metrics: Metrics) -> None:
    engine = GatedEngine()
    batcher = Batcher(engine, metrics=metrics, queue=10)
    tasks = [asyncio.create_task(batcher.submit(image(i), deadline=soon())) for i in range(5)]
    await until(lambda: engine.running == 1)
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    with pytest.raises(ServiceUnavailable) as caught:
        await batcher.submit(image(9), deadline=soon())
    assert not isinstance(caught.value, Overloaded)
    assert not closing.done()
    engine.open()
    assert [answer.logits[0] for answer in await asyncio.gather(*tasks)] == [0, 1, 2, 3, 4]
    await closing
    assert engine.running == 0


async def test_close_waits_for_work_whose_caller_has_gone(metrics: Metrics) -> None:
    engine = GatedEngine()
    batcher = Batcher(engine, metrics=metrics, queue=10)
    task = asyncio.create_task(batcher.submit(image(1), deadline=soon()))
    await until(lambda: engine.running == 1)
    task.cancel()
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    engine.open()
    await closing
    assert engine.running == 0


@settings(max_examples=40, deadline=None)
@given(
    streams=st.integers(1, 3),
    max_batch=st.integers(1, 5),
    queue=st.integers(0, 12),
    steps=st.lists(
        st.tuples(st.sampled_from(["submit", "cancel", "open", "fail", "tick"]), st.integers(0, 9)),
        max_size=40,
    ),
)
def test_whatever_happens_every_caller_is_answered_and_the_count_returns_to_zero(
    streams: int, max_batch: int, queue: int, steps: list[tuple[str, int]]
) -> None:
    asyncio.run(play(streams, max_batch, queue, steps))


async def play(streams: int, max_batch: int, queue: int, steps: list[tuple[str, int]]) -> None:
    metrics = Metrics()
    engine = GatedEngine(streams=streams, max_batch=max_batch)
    batcher = Batcher(engine, metrics=metrics, queue=queue, max_delay_ms=1)
    tasks: list[tuple[float, asyncio.Task]] = []
    for action, number in steps:
        if action in ("submit", "fail"):
            value = float(len(tasks) + 1) * (1 if action == "submit" else -1)
            tasks.append(
                (value, asyncio.create_task(batcher.submit(image(value), deadline=soon())))
            )
        elif action == "cancel" and tasks:
            tasks[number % len(tasks)][1].cancel()
        elif action == "open":
            engine.open(number + 1)
        else:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    engine.open()
    results = await asyncio.gather(*(task for _, task in tasks), return_exceptions=True)
    await batcher.close()
    for (value, _), result in zip(tasks, results, strict=True):
        allowed = (Overloaded, ModelUnavailable, asyncio.CancelledError)
        assert isinstance(result, allowed) or result.logits[0] == value
        assert value >= 0 or isinstance(result, allowed)
    assert engine.most_running <= streams
    assert max(engine.batches, default=0) <= max_batch
    assert sample(metrics, "skerry_queue_depth", model="gated") == 0
