"""An answer in pieces: whole and in order, bounded in silence, and ended when its reader goes."""

import asyncio
import gc
import os
import signal
from contextlib import aclosing
from pathlib import Path

import pytest

from skerry.errors import ModelUnavailable, Overloaded, SpaceMismatch
from skerry.workers.process import Worker, WorkerSpec

SPEC = WorkerSpec(name="parts", module="parts_worker", gone=ModelUnavailable, max_pending=4)
LIMIT_S = 30.0


@pytest.fixture(autouse=True)
def parts_on_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture
async def worker():
    worker = await Worker.start(SPEC)
    yield worker
    await worker.stop(grace_s=0.1)


async def read(worker, body, *, limit_s=LIMIT_S):
    return [piece async for piece in worker.stream(body, limit_s=limit_s)]


async def take(worker, body, count):
    """The first `count` pieces of a stream that is then left."""
    async with aclosing(worker.stream(body, limit_s=LIMIT_S)) as pieces:
        return [await anext(pieces) for _ in range(count)]


async def cancellations(worker):
    return int(await worker.call(b"cancelled", limit_s=LIMIT_S))


async def test_pieces_come_in_order_and_the_answer_last(worker):
    words = [str(n).encode() for n in range(1000)]
    assert await read(worker, b"split " + b" ".join(words)) == [*words, b"end"]


async def test_streams_side_by_side_get_their_own_pieces(worker):
    first, second = await asyncio.gather(read(worker, b"split a b c"), read(worker, b"split 1 2 3"))
    assert (first, second) == ([b"a", b"b", b"c", b"end"], [b"1", b"2", b"3", b"end"])


async def test_first_piece_comes_before_the_answer_has_ended(worker):
    assert await take(worker, b"count", 3) == [b"0", b"1", b"2"]


async def test_error_comes_after_the_pieces_before_it(worker):
    seen = []
    with pytest.raises(SpaceMismatch, match="no more"):
        async for piece in worker.stream(b"refuse no more", limit_s=LIMIT_S):
            seen.append(piece)
    assert seen == [b"first"]


async def test_leaving_a_stream_tells_the_worker(worker):
    assert await cancellations(worker) == 0
    await take(worker, b"count", 1)
    assert await cancellations(worker) == 1


async def test_cancelling_the_reader_tells_the_worker(worker):
    reader = asyncio.create_task(read(worker, b"count"))
    await take(worker, b"count", 1)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await cancellations(worker) == 2


async def test_a_stream_that_has_ended_is_not_cancelled(worker):
    assert await take(worker, b"split a", 2) == [b"a", b"end"]
    await read(worker, b"split a")
    assert await cancellations(worker) == 0


async def test_places_of_streams_that_were_left_are_free_once_the_worker_says_so(worker):
    for _ in range(3 * SPEC.max_pending):
        await take(worker, b"count", 1)
        await cancellations(worker)


async def test_streams_over_the_bound_are_refused(worker):
    held = [worker.stream(b"count", limit_s=LIMIT_S) for _ in range(SPEC.max_pending)]
    await asyncio.gather(*(anext(stream) for stream in held))
    with pytest.raises(Overloaded):
        await read(worker, b"count")
    for stream in held:
        await stream.aclose()


async def test_the_limit_is_for_silence_and_not_for_the_whole(worker):
    assert await read(worker, b"beat 10", limit_s=0.6) == [b"end"]


async def test_worker_that_falls_silent_is_killed(worker):
    seen = []
    with pytest.raises(ModelUnavailable, match="did not answer in time"):
        async for piece in worker.stream(b"silence", limit_s=0.3):
            seen.append(piece)
    assert seen == [b"first"]


async def test_worker_that_never_ends_a_cancelled_call_is_killed(worker):
    async with aclosing(worker.stream(b"silence", limit_s=0.3)) as pieces:
        await anext(pieces)
    assert "did not answer in time" in await worker.gone()


@pytest.mark.parametrize("body", [b"exit", b"count"])
async def test_a_dying_worker_fails_the_streams_that_are_read(worker, body):
    pieces = worker.stream(body, limit_s=LIMIT_S)
    assert await anext(pieces) in (b"first", b"0")
    if body == b"count":
        os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(ModelUnavailable, match=r"exit code 3|SIGKILL"):
        async for _ in pieces:
            pass
    with pytest.raises(ModelUnavailable):
        await read(worker, b"count")


async def test_an_error_nobody_reads_is_not_reported_as_lost(worker):
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    await take(worker, b"refuse x", 1)
    await take(worker, b"silence", 1)
    worker.kill()
    await worker.gone()
    gc.collect()
    assert reported == []


async def test_stop_waits_for_the_stream_under_way(worker):
    pieces = worker.stream(b"beat 3", limit_s=LIMIT_S)
    reader = asyncio.create_task(anext(pieces))
    await asyncio.sleep(0)
    await worker.stop()
    assert await reader == b"end"
