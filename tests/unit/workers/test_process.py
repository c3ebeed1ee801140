"""A worker that answers, refuses, dies, hangs, and the node that dies before it."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from skerry.errors import IndexUnavailable, Overloaded, SpaceMismatch
from skerry.workers.process import Worker, WorkerSpec

SPEC = WorkerSpec(name="echo", module="echo_worker", gone=IndexUnavailable, max_pending=8)


@pytest.fixture(autouse=True)
def echo_on_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture
async def worker():
    worker = await Worker.start(SPEC)
    yield worker
    await worker.stop(grace_s=0.1)


async def call(worker, text, *, limit_s=30.0):
    return (await worker.call(text.encode(), limit_s=limit_s)).decode()


async def test_answers_go_to_their_calls(worker):
    texts = [str(n) * 1000 for n in range(8)]
    assert await asyncio.gather(*(call(worker, f"echo {text}") for text in texts)) == texts


async def test_large_bodies_pass_both_ways(worker):
    body = os.urandom(5_000_000)
    assert await worker.call(b"echo " + body, limit_s=30) == body


async def test_domain_error_of_the_worker_is_raised_at_the_call(worker):
    with pytest.raises(SpaceMismatch, match="another space") as caught:
        await call(worker, "refuse another space")
    assert caught.value.remedy == "r"
    assert await call(worker, "echo still there") == "still there"


async def test_killed_worker_fails_the_calls_that_wait_and_those_after(worker):
    waiting = [asyncio.create_task(call(worker, "hang")) for _ in range(3)]
    await asyncio.sleep(0)
    os.kill(worker.pid, signal.SIGKILL)
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, IndexUnavailable)
        assert "SIGKILL" in result.message
    with pytest.raises(IndexUnavailable, match="SIGKILL"):
        await call(worker, "echo x")
    assert not psutil.pid_exists(worker.pid), "a zombie is left"


async def test_last_words_of_a_dying_worker_are_logged(worker, caplog):
    with pytest.raises(IndexUnavailable, match="exit code 3"):
        await call(worker, "exit")
    assert "exit code 3" in await worker.gone()
    assert "leaving" in caplog.text


async def test_worker_that_does_not_answer_in_time_is_killed(worker):
    with pytest.raises(IndexUnavailable, match="did not answer in time"):
        await call(worker, "hang", limit_s=0.2)
    await worker.gone()
    assert not psutil.pid_exists(worker.pid)


async def test_calls_over_the_bound_are_refused_with_retry_after(worker):
    waiting = [asyncio.create_task(call(worker, "slow x")) for _ in range(8)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as caught:
        await call(worker, "echo x")
    assert caught.value.retry_after_s == 1
    for task in waiting[1:]:
        task.cancel()
    await asyncio.sleep(0)
    # The worker still has the cancelled calls to do, so they still count.
    with pytest.raises(Overloaded):
        await call(worker, "echo x")
    assert await waiting[0] == "x"


async def test_stop_lets_calls_finish_and_refuses_new_ones(worker):
    waiting = asyncio.create_task(call(worker, "slow done"))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(worker.stop())
    await asyncio.sleep(0)
    with pytest.raises(IndexUnavailable, match="stopping"):
        await call(worker, "echo x")
    assert await waiting == "done"
    await stopping
    assert await worker.gone() == "ended with exit code 0"


async def test_stop_kills_a_worker_that_hangs(worker):
    waiting = asyncio.create_task(call(worker, "hang"))
    await asyncio.sleep(0)
    await worker.stop(grace_s=0.1)
    with pytest.raises(IndexUnavailable, match="did not stop"):
        await waiting


async def test_signals_for_the_whole_group_leave_the_worker_to_its_node(worker):
    await call(worker, "echo started")
    os.kill(worker.pid, signal.SIGTERM)
    os.kill(worker.pid, signal.SIGINT)
    assert await call(worker, "echo alive") == "alive"


NODE = """
    import asyncio, os, sys, signal
    from skerry.workers.process import Worker, WorkerSpec

    async def main():
        worker = await Worker.start(WorkerSpec(name="echo", module="echo_worker"))
        print((await worker.call(b"pid", limit_s=30)).decode(), flush=True)
        if sys.argv[1] == "busy":
            asyncio.ensure_future(worker.call(b"hang", limit_s=60))
        await asyncio.sleep(60)

    asyncio.run(main())
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_worker_dies_with_its_node(state):
    if state == "busy" and sys.platform != "linux":
        pytest.skip("only Linux ends a busy child with its parent")
    command = [sys.executable, "-c", textwrap.dedent(NODE), state]
    node = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert node.stdout is not None
    child = psutil.Process(int(node.stdout.readline()))
    node.kill()
    node.wait()
    psutil.wait_procs([child], timeout=5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_ctrl_c_prints_nothing_of_the_worker():
    command = [sys.executable, "-c", textwrap.dedent(NODE), "idle"]
    node = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert node.stdout is not None
    child = psutil.Process(int(node.stdout.readline()))
    os.killpg(node.pid, signal.SIGINT)
    _, errors = node.communicate(timeout=20)
    psutil.wait_procs([child], timeout=5)
    assert "echo_worker" not in errors
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
