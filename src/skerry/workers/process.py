"""Start a worker process, call it, notice when it dies or hangs."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from itertools import count
from typing import Self, cast

from skerry.errors import Overloaded, ServiceUnavailable
from skerry.workers.frames import (
    ANSWER,
    CALL,
    CANCEL,
    HEADER,
    PART,
    Frame,
    Splitter,
    decode_error,
)
from skerry.workers.relay import parse
from skerry.workers.spawn import Child
from skerry.workers.streams import StreamedCall

log = logging.getLogger(__name__)

CHECK_S = 0.25
CALL_ID_LIMIT = 1 << 32


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What to run, and the error that calls get once it is gone.

    The module runs as `python -m module`, opens `skerry.workers.child.open_channel()` and
    answers each call. More than `max_pending` calls at once are refused with Overloaded.
    """

    name: str
    module: str
    gone: type[ServiceUnavailable] = ServiceUnavailable
    max_pending: int = 256


class Worker:
    """A running worker. It is never restarted in place: make another one."""

    def __init__(self, spec: WorkerSpec, process: Child) -> None:
        self.spec = spec
        self.pid = process.pid
        self._process = process
        self._link = _Link(spec)
        self._gone = asyncio.Event()
        self._reason = ""
        self._stderr: asyncio.Task[None]
        self._watch: asyncio.Task[None]
        self._supervision: asyncio.Task[None]

    @classmethod
    async def start(cls, spec: WorkerSpec) -> Self:
        """Start the process; its first call shows whether it works. `spec.gone` if it cannot."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await Child.start(spec.module, channel=theirs)
        except OSError as error:
            ours.close()
            raise spec.gone(f"The {spec.name} worker cannot start: {error.strerror}.") from error
        worker = cls(spec, process)
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: worker._link, sock=ours)
        worker._stderr = loop.create_task(worker._relay_stderr())
        worker._watch = loop.create_task(worker._watch_limits())
        worker._supervision = loop.create_task(worker._supervise())
        return worker

    async def call(self, body: bytes, *, limit_s: float) -> bytes:
        """Send `body` and return the answer's.

        A call without an answer after `limit_s` means the worker hangs: it is killed. Raises
        the error the worker answered with, `spec.gone` when the worker dies, or Overloaded.
        """
        if self._reason or self._link.closed.done():
            raise self._gone_error()
        return await self._link.call(body, limit_s=limit_s)

    def stream(self, body: bytes, *, limit_s: float) -> AsyncGenerator[bytes, None]:
        """Send `body` and give the pieces of its answer as they come, at last the answer's body.

        Raises as `call` does; `limit_s` bounds the silence between two pieces. Closing the
        iterator tells the worker that nobody waits any more.
        """
        if self._reason or self._link.closed.done():
            raise self._gone_error()
        return self._link.stream(body, limit_s=limit_s)

    async def gone(self) -> str:
        """Wait until the process has ended; why it did."""
        await self._gone.wait()
        return self._reason

    async def stop(self, *, grace_s: float = 10.0) -> None:
        """Let the calls made so far finish, then end the process; kill it after `grace_s`."""
        self._link.finish()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._gone.wait()
                return
        self.kill("was killed because it did not stop")
        await self._gone.wait()

    def kill(self, reason: str = "was killed") -> None:
        """End the process now."""
        self._reason = self._reason or reason
        self._process.kill()

    async def _supervise(self) -> None:
        try:
            await self._reap()
        finally:  # also when the event loop ends first: nobody may wait for it for ever
            self._gone.set()
            self._link.fail_all(self._gone_error)
            self._watch.cancel()

    async def _reap(self) -> None:
        await asyncio.wait([self._link.closed])
        try:
            async with asyncio.timeout(1):
                status = await self._process.wait()
        except TimeoutError:
            # The channel is gone, so nothing it still does can reach anyone.
            self.kill("closed its channel")
            status = await self._process.wait()
        self._reason = self._reason or _describe(status)
        # Its last words are in the log before anybody hears that it is gone.
        await asyncio.wait([self._stderr], timeout=1)

    async def _watch_limits(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            if self._link.is_overdue():
                self.kill("was killed because it did not answer in time")
                return

    async def _relay_stderr(self) -> None:
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:  # a line longer than the reader's buffer; its rest follows
                continue
            if not line:
                return
            level, text = parse(line.decode("utf-8", "replace").rstrip())
            fields = {"worker": self.spec.name, "pid": self.pid}
            log.log(level, "%s", text, extra={"fields": fields})

    def _gone_error(self) -> ServiceUnavailable:
        reason = self._reason or "has closed its channel"
        return self.spec.gone(f"The {self.spec.name} worker {reason}.", retry_after_s=1)


@dataclass(slots=True, eq=False)
class _Call:
    answer: asyncio.Future[bytes]
    until: float


class _Link(asyncio.Protocol):
    """The node's end of the channel: sends calls, matches answers to them."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._ids = count()
        self._calls: dict[int, _Call | StreamedCall] = {}
        self._splitter = Splitter()
        self._transport: asyncio.WriteTransport | None = None
        self._finishing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods but not the class.
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        for frame in self._splitter.feed(data):
            self._settle(frame)
        self._finish_when_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    async def call(self, body: bytes, *, limit_s: float) -> bytes:
        call = _Call(self._loop.create_future(), self._loop.time() + limit_s)
        self._send_call(call, body)
        return await call.answer

    async def stream(self, body: bytes, *, limit_s: float) -> AsyncGenerator[bytes, None]:
        call = StreamedCall(limit_s=limit_s)
        call_id = self._send_call(call, body)
        try:
            async with aclosing(call.pieces()) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            if not call.answer.done():
                self._abandon(call_id, call)

    def _send_call(self, call: _Call | StreamedCall, body: bytes) -> int:
        if self._finishing:
            raise self._spec.gone(f"The {self._spec.name} worker is stopping.", retry_after_s=1)
        if len(self._calls) >= self._spec.max_pending:
            raise Overloaded(f"The {self._spec.name} worker has too much to do.", retry_after_s=1)
        call_id = next(self._ids) % CALL_ID_LIMIT
        # A call stays counted until its answer comes, even when its caller has given up:
        # the worker has it to do all the same.
        self._calls[call_id] = call
        assert self._transport is not None
        self._transport.writelines((HEADER.pack(len(body), call_id, CALL), body))
        return call_id

    def _abandon(self, call_id: int, call: StreamedCall) -> None:
        call.abandon()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(HEADER.pack(0, call_id, CANCEL))

    def finish(self) -> None:
        self._finishing = True
        self._finish_when_idle()

    def fail_all(self, error: Callable[[], ServiceUnavailable]) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            if not call.answer.done():
                call.answer.set_exception(error())

    def is_overdue(self) -> bool:
        now = self._loop.time()
        return any(call.until < now for call in self._calls.values())

    def _settle(self, frame: Frame) -> None:
        if frame.kind == PART:
            self._extend(frame)
            return
        call = self._calls.pop(frame.call_id, None)
        if call is None or call.answer.done():
            return
        if frame.kind == ANSWER:
            call.answer.set_result(frame.body)
        else:
            call.answer.set_exception(decode_error(frame.body))

    def _extend(self, frame: Frame) -> None:
        call = self._calls.get(frame.call_id)
        if isinstance(call, StreamedCall):
            call.add(frame.body)

    def _finish_when_idle(self) -> None:
        if self._finishing and not self._calls and self._transport is not None:
            self._transport.close()


def _describe(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with exit code {status}"
