"""Vectors in qdrant-edge, in a worker process: every call of the engine holds the interpreter."""

from __future__ import annotations

import asyncio
import logging
import shutil
from contextlib import suppress
from pathlib import Path

import msgspec

from skerry.errors import IndexUnavailable
from skerry.vectors.base import (
    Changes,
    CollectionSpec,
    CollectionStatus,
    Filter,
    Float32,
    Match,
    check_limit,
    check_vector,
    check_vectors,
)
from skerry.vectors.filters import measure
from skerry.vectors.pairs import reads_payloads
from skerry.vectors.wire import (
    Apply,
    Build,
    Call,
    Close,
    Copy,
    Flush,
    Open,
    Quantization,
    Search,
    Status,
    Tuning,
    decode_matches,
    decode_opened,
    decode_status,
    encode,
)
from skerry.workers.process import Worker, WorkerSpec

log = logging.getLogger(__name__)

WORKER = WorkerSpec(
    name="vectors", module="skerry.vectors.edge_worker", gone=IndexUnavailable, max_pending=512
)
OPEN_LIMIT_S = 600.0
FLUSH_LIMIT_S = 60.0
BUILD_LIMIT_S = 24 * 3600.0

# What a search may cost before it has to give way to the others.
QUICK_CONDITIONS = 8
QUICK_VALUES = 64


class EdgeVectors:
    """A collection in a folder of its own, behind a worker process."""

    class Options(msgspec.Struct, forbid_unknown_fields=True):
        """Settings of the engine."""

        m: int = 16
        """Edges of a point in the graph."""
        ef_construct: int = 100
        """Candidates looked at when a point is put into the graph."""
        ef: int = 96
        """Candidates looked at in a search: more is slower and finds more."""
        quantization: Quantization = "scalar"
        """`scalar`: searches go over vectors of a byte a value, and the originals of the best
        rescore them; `none`: over the originals, which takes less memory and twice the time."""
        slice_bytes: int = 6 << 20
        """Bytes of vectors a thorough search looks at before it lets others pass."""
        hang_s: float = 30.0
        """After how long without an answer the worker is taken for hung and replaced."""

    def __init__(self, options: Options, *, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._spec: CollectionSpec | None = None
        self._worker: Worker | None = None
        self._builder: Worker | None = None
        self._status = CollectionStatus(0, 0, 0)
        # Held while files must not change: changes and flushes wait for a copy.
        self._writing = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The worker's process id."""
        return None if self._worker is None else self._worker.pid

    async def open(self, spec: CollectionSpec) -> CollectionStatus:
        """Open or create the collection; what cannot be used is discarded, and logged."""
        self._spec = spec
        self._worker = await Worker.start(WORKER)
        try:
            call = Open(str(self._folder), spec, self._tuning(spec))
            opened = decode_opened(await self._call(call, limit_s=OPEN_LIMIT_S))
        except BaseException:
            await self._stop()
            raise
        if opened.discarded:
            self._log_discarded(spec, opened.discarded)
        self._status = opened.status
        return self._status

    async def apply(self, changes: Changes) -> CollectionStatus:
        """Apply changes; Unprocessable for a vector that does not fit, then nothing is applied."""
        size = self._opened().size
        vectors = check_vectors([point.vector for point in changes.upserts], size=size)
        call = Apply(
            seq=changes.seq,
            ids=[point.id for point in changes.upserts],
            vectors=vectors.tobytes(),
            payloads=[dict(point.payload) for point in changes.upserts],
            deletes=list(changes.deletes),
        )
        async with self._writing:
            self._status = decode_status(await self._call(call))
        return self._status

    async def search(
        self, vector: Float32, *, limit: int, filter: Filter | None = None, exact: bool = False
    ) -> list[Match]:
        """The nearest points to float32 (size,), nearest first.

        An exact search, and one with a filter over many conditions, many values, or a range of
        a field without an index, is done exactly and in slices, so that it delays the others
        little.
        """
        spec = self._opened()
        query = check_vector(vector, size=spec.size)
        check_limit(limit)
        thorough = exact or (filter is not None and _is_complex(filter, spec))
        call = Search(query.tobytes(), limit, filter, thorough)
        return decode_matches(await self._call(call))

    async def status(self) -> CollectionStatus:
        """Counts and the applied seq."""
        self._status = decode_status(await self._call(Status()))
        return self._status

    async def flush(self) -> None:
        """Sync to disk what was applied; searches wait some milliseconds."""
        async with self._writing:
            await self._call(Flush(), limit_s=FLUSH_LIMIT_S)

    async def optimised(self, folder: Path) -> EdgeVectors | None:
        """A copy in `folder` with its graph built, by a process of low priority.

        None when the graph is current.
        """
        spec = self._opened()
        if not self._status.optimisable:
            return None
        builder = self._builder = await Worker.start(WORKER)
        try:
            await self._copy(folder, builder)
            build = Build(str(folder), spec, self._tuning(spec))
            await builder.call(encode(build), limit_s=BUILD_LIMIT_S)
        except BaseException:
            builder.kill()
            raise
        finally:
            self._builder = None
            await builder.stop()
        successor = EdgeVectors(self._options, folder=folder)
        await successor.open(spec)
        return successor

    async def gone(self) -> None:
        """Return once the worker has ended."""
        if self._worker is not None:
            await self._worker.gone()

    async def close(self) -> None:
        """Flush, and end the worker."""
        if self._worker is None:
            return
        with suppress(IndexUnavailable):  # a worker that died has nothing to flush
            async with self._writing:
                await self._call(Close(), limit_s=FLUSH_LIMIT_S)
        await self._stop()

    async def destroy(self) -> None:
        """Let the searches under way finish, end the worker, delete the folder."""
        await self._stop()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _copy(self, folder: Path, builder: Worker) -> None:
        async with self._writing:
            await self._call(Flush(), limit_s=FLUSH_LIMIT_S)
            copy = Copy(str(self._folder), str(folder))
            await builder.call(encode(copy), limit_s=OPEN_LIMIT_S)

    async def _call(self, call: Call, *, limit_s: float | None = None) -> bytes:
        if self._worker is None:
            raise IndexUnavailable("The vector index is closed.")
        return await self._worker.call(encode(call), limit_s=limit_s or self._options.hang_s)

    async def _stop(self) -> None:
        worker, self._worker = self._worker, None
        if self._builder is not None:
            self._builder.kill()
        if worker is not None:
            await worker.stop()

    def _opened(self) -> CollectionSpec:
        if self._spec is None or self._worker is None:
            raise IndexUnavailable("The vector index is closed.")
        return self._spec

    def _tuning(self, spec: CollectionSpec) -> Tuning:
        options = self._options
        slice_points = max(1, options.slice_bytes // (4 * spec.size))
        return Tuning(
            options.m,
            options.ef_construct,
            options.ef,
            slice_points,
            options.quantization,
        )

    def _log_discarded(self, spec: CollectionSpec, reason: str) -> None:
        fields = {"collection": spec.name, "space": spec.space, "reason": reason}
        log.warning("The vector index starts empty", extra={"fields": fields})


def _is_complex(filter: Filter, spec: CollectionSpec) -> bool:
    size = measure(filter)
    return (
        size.conditions > QUICK_CONDITIONS
        or size.values > QUICK_VALUES
        or reads_payloads(filter, spec.fields.keys())
    )
