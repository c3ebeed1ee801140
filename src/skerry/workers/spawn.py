"""Start the process of a worker from a node with many threads, and hear of its end."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Self


class Child:
    """A process that runs a module.

    Not by the event loop's own subprocesses: uvloop runs Python in the child before its exec.
    There a destructor may wait for a lock that another thread held when the node forked (SQLite's,
    for one), and the node, which waits for the exec, then stands still for good. `Popen` runs
    nothing of Python between the two.
    """

    def __init__(self, process: subprocess.Popen[bytes], stderr: asyncio.StreamReader) -> None:
        self.pid = process.pid
        self.stderr = stderr
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._status: asyncio.Future[int] = self._loop.create_future()
        threading.Thread(target=self._await_end, name=f"wait-{self.pid}", daemon=True).start()

    @classmethod
    async def start(cls, module: str, *, channel: socket.socket) -> Self:
        """Run `module` with `channel` as its standard input; OSError when that cannot be.

        Blocks for the milliseconds of an exec: started by another thread, a worker would end with
        that thread and not with the node.
        """
        process = subprocess.Popen(  # noqa: ASYNC220 - see above
            # -P: modules come from the installation, never from the working directory.
            (sys.executable, "-P", "-m", module),
            stdin=channel.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # A session of its own: Ctrl-C on the terminal reaches the node alone.
            start_new_session=True,
        )
        assert process.stderr is not None
        stderr = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stderr), process.stderr
        )
        return cls(process, stderr)

    async def wait(self) -> int:
        """Wait for the end: the exit code, or minus the signal that ended it."""
        return await asyncio.shield(self._status)

    def kill(self) -> None:
        """End the process now; nothing when it has ended."""
        self._process.kill()

    def _await_end(self) -> None:
        status = self._process.wait()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._note_end, status)

    def _note_end(self, status: int) -> None:
        if not self._status.done():
            self._status.set_result(status)
