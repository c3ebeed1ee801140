"""The start of a worker's process from a node whose threads hold locks."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

from skerry.workers.spawn import Child

HERE = Path(__file__).parent


def test_lock_held_by_another_thread_does_not_stop_a_start():
    """As SQLite's lock would, taken by a destructor in the forked child.

    In an interpreter of its own: what is registered with `register_at_fork` stays.
    """
    script = textwrap.dedent(
        """
        import os, threading, uvloop
        from skerry.errors import IndexUnavailable
        from skerry.workers.process import Worker, WorkerSpec

        held = threading.Lock()
        held.acquire()
        os.register_at_fork(after_in_child=held.acquire)

        async def main():
            worker = await Worker.start(WorkerSpec("echo", "echo_worker", IndexUnavailable, 8))
            print((await worker.call(b"echo started", limit_s=30)).decode())
            await worker.stop(grace_s=5)

        uvloop.run(main())
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "started\n", done.stderr


async def test_end_of_a_child_is_told_with_its_signal(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = await Child.start("echo_worker", channel=theirs)
        child.kill()
        assert await child.wait() == -signal.SIGKILL
        child.kill()  # an ended one: nothing to do
