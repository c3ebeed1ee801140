"""The text batcher in front of real encoders, and of one whose pace the test sets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from skerry.backends import backend_class
from skerry.errors import DeadlineExceeded, ModelUnavailable, Overloaded, ServiceUnavailable
from skerry.inference.base import EngineInfo
from skerry.inference.encoder import EncoderOutput, TokenBatch
from skerry.inference.text_batcher import TextBatcher
from skerry.metrics import Metrics
from tiny_encoder import WIDTH, install_tiny_encoder

POISON = 666


class GatedEncoder:
    """Gives each text's first token and its length; a call ends when the test opens the gate."""

    width = 2

    def __init__(self, *, streams: int = 1) -> None:
        self.info = EngineInfo("gated", "test", "cpu", "fp32", "f", "s")
        self.streams = streams
        self.gate = threading.Semaphore(0)
        self.calls: list[TokenBatch] = []
        self.running = 0
        self.most_running = 0
        self._lock = threading.Lock()

    def run(self, batch: TokenBatch) -> EncoderOutput:
        with self._lock:
            self.calls.append(batch)
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        assert self.gate.acquire(timeout=30)
        with self._lock:
            self.running -= 1
        if (batch.ids == POISON).any():
            raise ModelUnavailable("a poisoned text")
        values = np.stack([batch.ids[:, 0], batch.mask.sum(axis=1)], axis=1)
        return EncoderOutput(values.astype(np.float32), 0.01)

    def close(self) -> None: ...

    def open(self, calls: int = 100_000) -> None:
        self.gate.release(calls)


def text(first: int, length: int) -> list[int]:
    return [first, *[7] * (length - 1)]


def soon(seconds: float = 20.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the encoder runs in threads
            await asyncio.sleep(0.001)


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def batcher_of(encoder: GatedEncoder, metrics: Metrics, *, queue: int = 100) -> TextBatcher:
    return TextBatcher(encoder, metrics=metrics, queue=queue, call_tokens=64)


def submit(
    batcher: TextBatcher, texts: Sequence[Sequence[int]], seconds: float = 20.0
) -> asyncio.Task[np.ndarray]:
    async def values() -> np.ndarray:
        return (await batcher.submit(texts, deadline=soon(seconds))).values

    return asyncio.create_task(values())


@pytest.mark.parametrize("kind", ["openvino", "onnx"])
async def test_callers_get_the_values_of_their_own_texts(
    kind: str, tmp_path: Path, metrics: Metrics
) -> None:
    model = install_tiny_encoder(tmp_path / "tiny")
    encoder = backend_class("encoders", kind)(model, precision="fp32", threads=8)
    batcher = TextBatcher(encoder, metrics=metrics, queue=1000, call_tokens=64)
    random = np.random.default_rng(0)
    requests = [
        [random.integers(5, 30, random.integers(1, 16)).tolist() for _ in range(count)]
        for count in random.integers(1, 30, 40)
    ]
    answers = await asyncio.gather(*(batcher.submit(own, deadline=soon(60)) for own in requests))
    for texts, answer in zip(requests, answers, strict=True):
        assert answer.values.shape == (len(texts), WIDTH)
        assert answer.inference_s > 0
        assert answer.queue_s >= 0
        for ids, values in zip(texts, answer.values, strict=True):
            row = np.array([ids])
            alone = encoder.run(TokenBatch(row, np.ones_like(row))).values[0]
            np.testing.assert_allclose(values, alone, atol=1e-3)
    assert sample(metrics, "skerry_queue_depth", model="tiny-encoder") == 0
    await batcher.close()


async def test_waiting_callers_share_one_call(metrics: Metrics) -> None:
    encoder = GatedEncoder()
    batcher = batcher_of(encoder, metrics)
    first = submit(batcher, [text(1, 8)])
    await until(lambda: len(encoder.calls) == 1)
    others = [submit(batcher, [text(at, 8)]) for at in range(2, 10)]
    await asyncio.sleep(0)
    encoder.open()
    await first
    for at, other in enumerate(others, 2):
        np.testing.assert_array_equal(await other, [[at, 8]])
    assert [len(call.ids) for call in encoder.calls] == [1, 8]


async def test_texts_of_like_length_go_together_and_calls_keep_their_size(
    metrics: Metrics,
) -> None:
    encoder = GatedEncoder()
    encoder.open()
    lengths = [int(length) for length in np.random.default_rng(2).integers(1, 60, 300)]
    values = await submit(
        batcher_of(encoder, metrics), [text(at, length) for at, length in enumerate(lengths)]
    )
    np.testing.assert_array_equal(values, list(enumerate(lengths)))
    for call in encoder.calls:
        assert call.ids.size <= 64
        assert call.mask.sum() >= 0.7 * call.mask.size or call.mask.shape[1] <= 32
    computed = sum(call.ids.size for call in encoder.calls)
    assert computed < 1.15 * sum(lengths)


async def test_a_large_request_does_not_keep_a_small_one_waiting(metrics: Metrics) -> None:
    encoder = GatedEncoder()
    batcher = batcher_of(encoder, metrics)
    large = submit(batcher, [text(1, 30)] * 2000)
    await until(lambda: len(encoder.calls) == 1)
    small = submit(batcher, [text(9, 4)])
    await asyncio.sleep(0)
    for done in range(1, 4):
        encoder.open(1)
        await until(lambda done=done: len(encoder.calls) == done + 1 or small.done())
    assert small.done()
    np.testing.assert_array_equal(await small, [[9, 4]])
    assert not large.done()
    encoder.open()
    assert (await large).shape == (2000, 2)


async def test_small_requests_do_not_starve_a_large_one(metrics: Metrics) -> None:
    encoder = GatedEncoder()
    batcher = batcher_of(encoder, metrics)
    large = submit(batcher, [text(1, 30)] * 8)
    await until(lambda: len(encoder.calls) == 1)
    smalls = []
    for number in range(1, 30):
        smalls += [submit(batcher, [text(2, 4)]) for _ in range(3)]
        await asyncio.sleep(0)
        encoder.open(1)
        await until(lambda number=number: len(encoder.calls) > number or large.done())
        if large.done():
            break
    assert large.done(), "three newcomers a call kept the large request waiting"
    encoder.open()
    await asyncio.gather(*smalls)


async def test_as_many_calls_run_side_by_side_as_there_are_streams(metrics: Metrics) -> None:
    encoder = GatedEncoder(streams=3)
    batcher = batcher_of(encoder, metrics)
    large = submit(batcher, [text(1, 32)] * 20)
    await until(lambda: encoder.running == 3)
    encoder.open()
    await large
    assert encoder.most_running == 3


async def test_a_full_queue_is_refused_with_retry_after(metrics: Metrics) -> None:
    encoder = GatedEncoder()
    batcher = batcher_of(encoder, metrics, queue=2)
    tasks = [submit(batcher, [text(1, 60)] * 3) for _ in range(2)]
    await until(lambda: len(encoder.calls) == 1)
    with pytest.raises(Overloaded) as caught:
        await submit(batcher, [text(1, 60)])
    assert caught.value.retry_after_s and caught.value.retry_after_s > 0
    assert sample(metrics, "skerry_refused_total", model="gated", reason="queue_full") == 1
    encoder.open()
    await asyncio.gather(*tasks)


async def test_a_deadline_ends_the_wait_and_frees_the_queue(metrics: Metrics) -> None:
    encoder = GatedEncoder()
    batcher = batcher_of(encoder, metrics)
    running = submit(batcher, [text(1, 60)])
    await until(lambda: len(encoder.calls) == 1)
    with pytest.raises(DeadlineExceeded):
        await submit(batcher, [text(2, 60)] * 50, seconds=0.05)
    encoder.open()
    await running
    await batcher.close()
    assert len(encoder.calls) == 1
    with pytest.raises(DeadlineExceeded):
        await submit(batcher_of(encoder, metrics), [text(1, 3)], seconds=-1)


async def test_what_cannot_be_done_in_time_is_refused_at_once(metrics: Metrics) -> None:
    encoder = GatedEncoder()
    encoder.open()
    batcher = batcher_of(encoder, metrics)
    await submit(batcher, [text(1, 60)])  # measures: 6000 tokens a second
    with pytest.raises(DeadlineExceeded, match="6000000 tokens take about 1000 s") as caught:
        await submit(batcher, [text(1, 60)] * 100_000, seconds=10)
    assert "fewer texts" in caught.value.remedy
    assert len(encoder.calls) == 1


async def test_short_calls_say_nothing_of_how_long_many_tokens_take(metrics: Metrics) -> None:
    encoder = GatedEncoder()
    encoder.open()
    batcher = batcher_of(encoder, metrics)
    await submit(batcher, [text(1, 60)])  # 6000 tokens a second
    for _ in range(100):
        await submit(batcher, [text(1, 2)])  # 200 tokens a second
    values = await submit(batcher, [text(1, 60)] * 500, seconds=10)
    assert values.shape == (500, 2)


async def test_a_cancelled_callers_texts_leave_the_queue(metrics: Metrics) -> None:
    encoder = GatedEncoder()
    batcher = batcher_of(encoder, metrics)
    gone = submit(batcher, [text(1, 60)] * 50)
    await until(lambda: len(encoder.calls) == 1)
    gone.cancel()
    stays = submit(batcher, [text(2, 60)])
    await asyncio.sleep(0)
    encoder.open()
    np.testing.assert_array_equal(await stays, [[2, 60]])
    await batcher.close()
    assert len(encoder.calls) == 2
    assert sample(metrics, "skerry_queue_depth", model="gated") == 0


async def test_a_failing_call_fails_its_own_callers_only(metrics: Metrics) -> None:
    encoder = GatedEncoder()
    batcher = batcher_of(encoder, metrics)
    poisoned = submit(batcher, [text(POISON, 62), *[text(1, 60)] * 5])
    await until(lambda: len(encoder.calls) == 1)
    healthy = submit(batcher, [text(3, 4)])
    encoder.open()
    with pytest.raises(ModelUnavailable, match="poisoned"):
        await poisoned
    np.testing.assert_array_equal(await healthy, [[3, 4]])
    assert len(encoder.calls) == 2


async def test_close_finishes_what_was_admitted_and_refuses_the_rest(metrics: Metrics) -> None:
    encoder = GatedEncoder()
    batcher = batcher_of(encoder, metrics)
    admitted = submit(batcher, [text(1, 60)] * 4)
    await until(lambda: len(encoder.calls) == 1)
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    with pytest.raises(ServiceUnavailable):
        await submit(batcher, [text(2, 4)])
    assert not closing.done()
    encoder.open()
    assert (await admitted).shape == (4, 2)
    await closing


async def test_no_texts_are_no_work(metrics: Metrics) -> None:
    encoder = GatedEncoder()
    assert (await submit(batcher_of(encoder, metrics), [])).shape == (0, 2)
    assert encoder.calls == []
