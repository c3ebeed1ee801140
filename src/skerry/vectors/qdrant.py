"""Vectors in a collection on a Qdrant server, reached by its URL."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from skerry.errors import IndexUnavailable, Overloaded
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
from skerry.vectors.qdrant_record import (
    Claim,
    Record,
    check_record,
    new_claim,
    new_token,
    read_claim,
    write_claim,
)
from skerry.vectors.qdrant_server import QdrantOptions, QdrantServer, place_of
from skerry.vectors.record import Unusable

log = logging.getLogger(__name__)


class QdrantVectors:
    """A collection of this node's own on the server; the folder holds the claim on it.

    A call that fails ends it: another one over the same folder takes the collection up where its
    record says it stands, or starts a new one when it is not as this node left it.
    """

    Options = QdrantOptions

    def __init__(self, options: QdrantOptions, *, folder: Path) -> None:
        # A wrong url is told before anything is opened.
        self._place = place_of(options.url)
        self._options = options
        self._connected: QdrantServer | None = None
        self._folder = folder
        self._gone = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._claim: Claim
        self._record: Record | None = None
        """As it was written last; None while it is not open."""
        # Whoever changes the record holds it; the watcher too, so that it compares like with like.
        self._writing = asyncio.Lock()

    async def open(self, spec: CollectionSpec) -> CollectionStatus:
        """Take up the collection that the folder claims, or make one; why is logged."""
        await self._connect()
        try:
            if not await self._take_up(spec):
                await self._begin(spec)
            status = await self.status()
        except BaseException:
            await self._end()
            raise
        self._watcher = asyncio.create_task(self._watch())
        return status

    async def apply(self, changes: Changes) -> CollectionStatus:
        """Apply changes; Unprocessable for a vector that does not fit, then nothing is applied."""
        size = self._opened().spec.size
        vectors = check_vectors([point.vector for point in changes.upserts], size=size)
        async with self._writing:
            await self._verify()
            record = msgspec.structs.replace(self._opened(), applied_seq=changes.seq, points=None)
            with self._ending(on=BaseException):
                await self._server.write(
                    self._claim.collection, record, after=self._record,
                    upserts=changes.upserts, vectors=vectors, deletes=changes.deletes,
                )  # fmt: skip
            self._record = record
        return await self.status()

    async def search(
        self, vector: Float32, *, limit: int, filter: Filter | None = None, exact: bool = False
    ) -> list[Match]:
        """The nearest points to float32 (size,), nearest first."""
        query = check_vector(vector, size=self._opened().spec.size)
        check_limit(limit)
        if filter is not None:
            measure(filter)
        with self._ending():
            return await self._server.search(
                self._claim.collection, query, limit=limit, filter=filter, exact=exact
            )

    async def status(self) -> CollectionStatus:
        """Counts as the server gives them, and the applied seq."""
        applied_seq = self._opened().applied_seq
        with self._ending():
            return await self._server.status(self._claim.collection, applied_seq=applied_seq)

    async def flush(self) -> None:
        """Note the count of points; what was applied is in the server's own log already."""
        async with self._writing:
            record = self._opened()
            if record.points is not None:
                return
            await self._verify()
            with self._ending():
                points = await self._server.count(self._claim.collection)
            await self._sign(record, applied_seq=record.applied_seq, points=points)

    async def optimised(self, folder: Path) -> None:
        """Nothing to gain: the server builds its graph by itself."""

    async def gone(self) -> None:
        """Return once a call has failed, the collection was changed by others, or it was closed."""
        await self._gone.wait()

    async def close(self) -> None:
        """Flush, and close the connections."""
        if self._record is not None and not self._gone.is_set():
            with suppress(IndexUnavailable, Overloaded):  # what is not noted is applied again
                await self.flush()
        await self._end()

    async def destroy(self) -> None:
        """Delete the collection, if it is this node's still, and the folder."""
        await self._connect()
        try:
            claim = await asyncio.to_thread(read_claim, self._folder)
            if claim is not None:
                await self._drop(claim)
        finally:
            await self._end()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    @property
    def _server(self) -> QdrantServer:
        if self._connected is None:
            raise IndexUnavailable("The vector index is closed.")
        return self._connected

    async def _connect(self) -> None:
        if self._connected is None:
            # Reading the certificates that it may need takes a tenth of a second.
            self._connected = await asyncio.to_thread(QdrantServer, self._options)

    async def _take_up(self, spec: CollectionSpec) -> bool:
        claim = await asyncio.to_thread(read_claim, self._folder)
        if claim is None:
            return False
        self._claim = claim
        try:
            record = await self._trusted(spec)
        except Unusable as unusable:
            fields = {"collection": claim.collection, "reason": str(unusable)}
            log.warning("The vector index starts empty", extra={"fields": fields})
            return False
        applied_seq = min(record.applied_seq, claim.applied_seq)
        await self._sign(record, applied_seq=applied_seq, points=record.points)
        return True

    async def _trusted(self, spec: CollectionSpec) -> Record:
        """The record, when this node wrote it and it fits; Unusable, SpaceMismatch."""
        claim = self._claim
        record = await self._server.read_record(claim.collection)
        if record is None:
            await self._server.drop(claim.collection)
            raise Unusable("the server has lost it")
        if not claim.covers(record):
            raise Unusable("another node wrote to it or an old snapshot was restored; it is left")
        try:
            check_record(record, spec, points=await self._server.count(claim.collection))
        except Unusable:
            await self._server.drop(claim.collection)
            raise
        return record

    async def _begin(self, spec: CollectionSpec) -> None:
        # Claimed before it is made: what a crash leaves can still be found and deleted.
        self._claim = new_claim(spec)
        await asyncio.to_thread(write_claim, self._folder, self._claim)
        await self._server.create(self._claim.collection, spec)
        record = Record(replace(spec, fields=dict(spec.fields)), self._claim.token, points=0)
        await self._server.write(self._claim.collection, record, after=None)
        self._record = record

    async def _sign(self, after: Record, *, applied_seq: int, points: int | None) -> None:
        """Replace the record `after` by one with a new token, told to the claim first."""
        signed = msgspec.structs.replace(
            after, token=new_token(), applied_seq=applied_seq, points=points
        )
        claim = Claim(
            self._claim.collection, signed.token, previous=after.token, applied_seq=applied_seq
        )
        with self._ending(on=BaseException):
            await asyncio.to_thread(write_claim, self._folder, claim)
            await self._server.write(claim.collection, signed, after=after)
        self._claim, self._record = claim, signed

    async def _verify(self) -> None:
        """IndexUnavailable when the record is not as this node wrote it last."""
        with self._ending():
            if await self._server.read_record(self._claim.collection) == self._opened():
                return
            raise IndexUnavailable(
                f"Others have changed the collection '{self._claim.collection}' on the Qdrant "
                f"server at {self._place}: emptied, restored or written to."
            )

    async def _watch(self) -> None:
        with suppress(IndexUnavailable):  # whoever waits for `gone` opens another one
            while True:
                await asyncio.sleep(self._options.check_s)
                with suppress(Overloaded):
                    async with self._writing:
                        await self._verify()

    async def _drop(self, claim: Claim) -> None:
        record = await self._server.read_record(claim.collection)
        if record is None or claim.covers(record):
            await self._server.drop(claim.collection)
            return
        fields = {"collection": claim.collection}
        log.warning("Another node uses the collection: it is left", extra={"fields": fields})

    async def _end(self) -> None:
        self._gone.set()
        self._record = None
        if self._watcher is not None:
            self._watcher.cancel()
        server, self._connected = self._connected, None
        if server is not None:
            await server.close()

    @contextmanager
    def _ending(self, on: type[BaseException] = IndexUnavailable) -> Iterator[None]:
        """A call that fails ends this backend; a change that does not come through does always."""
        try:
            yield
        except on:
            self._gone.set()
            raise

    def _opened(self) -> Record:
        if self._record is None or self._gone.is_set():
            raise IndexUnavailable("The vector index is closed.")
        return self._record
