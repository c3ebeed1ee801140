"""Read files in a process of their own, one at a time, and start another when one is lost."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from skerry.errors import DocumentUnreadable, Overloaded, ServiceUnavailable
from skerry.media.readers.base import READY, ReadCall, ReadDocument, ReadLimits
from skerry.media.readers.kinds import kind_of
from skerry.workers.process import Worker, WorkerSpec

log = logging.getLogger(__name__)

WORKER = WorkerSpec(name="documents", module="skerry.media.readers.worker")
START_LIMIT_S = 60.0
MAX_WAITING = 256


class DocumentReader:
    """Turns files into text. A file that breaks the process is refused; the next one gets another.

    The process starts with the first file and stays until `close`.
    """

    def __init__(self, limits: ReadLimits | None = None) -> None:
        self._limits = limits or ReadLimits()
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._worker: Worker | None = None
        self._gone: asyncio.Task[str] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the worker, None while there is none."""
        return None if self._worker is None else self._worker.pid

    async def read(self, data: bytes, *, filename: str) -> ReadDocument:
        """The text of the file; its name only tells its format.

        Raises UnsupportedMediaType for a format without a reader, DocumentUnreadable for a file
        that is empty, damaged, encrypted or without text or that takes too much time or memory,
        PayloadTooLarge for one with too much in it, Overloaded when too many wait, and
        ServiceUnavailable when the process cannot be started.
        """
        kind = kind_of(filename, data)
        if self._waiting >= MAX_WAITING:
            raise Overloaded("Too many files wait to be read.", retry_after_s=1)
        self._waiting += 1
        try:
            async with self._turn:
                return await self._read(ReadCall(data, kind, self._limits))
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Let the file under way be read, then end the process."""
        async with self._turn:
            if self._worker is not None:
                await self._worker.stop()
                self._worker = None

    async def _read(self, call: ReadCall) -> ReadDocument:
        worker = await self._running()
        try:
            body = await worker.call(msgspec.msgpack.encode(call), limit_s=self._limits.time_s)
        except ServiceUnavailable as error:
            # One file at a time is read, so it is this one that broke the process.
            self._worker = None
            raise DocumentUnreadable(
                f"The file could not be read within {self._limits.time_s:.0f} s and "
                f"{self._limits.memory_bytes >> 20} MiB: {error.message}",
                remedy="Split it into smaller files, or save it as plain text.",
            ) from error
        except asyncio.CancelledError:
            # The next file must not wait for, or be blamed for, what nobody wants any more.
            worker.kill("was killed because its caller has gone")
            self._worker = None
            raise
        return msgspec.msgpack.decode(body, type=ReadDocument)

    async def _running(self) -> Worker:
        if self._worker is not None and self._gone is not None and self._gone.done():
            log.warning("The documents worker %s between two files.", self._gone.result())
            self._worker = None
        if self._worker is None:
            worker = await Worker.start(WORKER)
            self._gone = asyncio.create_task(worker.gone())
            try:
                await worker.call(READY, limit_s=START_LIMIT_S)
            except BaseException:
                worker.kill()
                raise
            self._worker = worker
        return self._worker
