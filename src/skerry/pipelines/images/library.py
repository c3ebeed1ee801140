"""Store, find, change and remove images."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from skerry.blobs.base import BlobStore
from skerry.errors import ImageNotFound, IndexUnavailable, StoreUnavailable
from skerry.index.base import ActiveIndex
from skerry.media.images import probe, thumbnail
from skerry.pipelines.gate import Gate
from skerry.pipelines.images.recognize import top_labels
from skerry.pipelines.images.served import ServedModels
from skerry.pipelines.images.tags import TagValue
from skerry.pipelines.stages import Stages
from skerry.sql.base import Database
from skerry.sql.images import ImageRow, ImageTable, NewImage

STORED_LABELS = 5
MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Upload:
    """An image as it arrived."""

    data: bytes
    filename: str
    uploaded_by: str
    tags: dict[str, TagValue]


@dataclass(frozen=True, slots=True)
class Stored:
    """The image's row, and whether this upload created it."""

    row: ImageRow
    created: bool


class ImageLibrary:
    """Images as rows, blobs and vectors that agree with each other."""

    def __init__(
        self,
        db: Database,
        table: ImageTable,
        blobs: BlobStore,
        models: ServedModels,
        index: ActiveIndex,
        *,
        max_pixels: int,
    ) -> None:
        self.table = table
        self.gate = Gate()
        """Closed while the node changes to another model."""
        self._db = db
        self._blobs = blobs
        self._models = models
        self._index = index
        self._max_pixels = max_pixels
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def add(self, upload: Upload, *, deadline: float, stages: Stages) -> Stored:
        """Store the image; on return it is synced to disk and found by the next search.

        Equal bytes are one image: the first row stays as it is.
        """
        digest = hashlib.sha256(upload.data).hexdigest()
        existing = self.table.get(digest)
        if existing is not None:
            return Stored(existing, created=False)
        facts = await asyncio.to_thread(probe, upload.data, max_pixels=self._max_pixels)
        # While it passes, the node does not change to another model, whose index would lack it.
        async with self.gate.passing(), self._models.serving() as extractor:
            extraction = await extractor.extract(upload.data, deadline=deadline, stages=stages)
            labels = top_labels(extraction.features, extractor.manifest, count=STORED_LABELS)
            new = NewImage(
                sha256=digest,
                filename=upload.filename,
                media_type=facts.media_type,
                width=facts.width,
                height=facts.height,
                bytes=len(upload.data),
                uploaded_by=upload.uploaded_by,
                created_at=int(time.time()),
                tags=upload.tags,
                labels=tuple(labels),
            )
            await self._index.ready_for_writes(deadline=deadline)
            with stages.measure("store"):
                return await self._commit(
                    new, upload.data, extraction.features.embedding, space=extractor.info.space
                )

    async def _commit(
        self, new: NewImage, data: bytes, embedding: NDArray[np.float32], *, space: str
    ) -> Stored:
        async with self._locked(new.sha256):
            existing = self.table.get(new.sha256)
            if existing is not None:
                return Stored(existing, created=False)
            # The blob is durable before the row that promises it.
            await asyncio.to_thread(self._blobs.put, new.sha256, data)
            row = await self._db.write(
                lambda tx: self.table.insert(tx, new, embedding=embedding, space=space)
            )
        self._index.notify()
        return Stored(row, created=True)

    def get(self, reference: str) -> ImageRow:
        """The image by id or sha256; ImageNotFound."""
        row = self.table.get(_id_or_digest(reference))
        if row is None:
            raise ImageNotFound(f"No image '{reference[:80]}' is stored.")
        return row

    async def change(
        self,
        reference: str,
        *,
        filename: str | None = None,
        uploaded_by: str | None = None,
        tags: dict[str, TagValue] | None = None,
    ) -> ImageRow:
        """Change what is given; tags are replaced as a whole."""
        row = self.get(reference)
        changed = await self._db.write(
            lambda tx: self.table.update(
                tx, row.id, filename=filename, uploaded_by=uploaded_by, tags=tags
            )
        )
        if changed is None:
            raise ImageNotFound(f"Image {row.id} was removed meanwhile.")
        self._index.notify()
        return changed

    async def remove(self, reference: str) -> None:
        """Delete row, vector and file; ImageNotFound."""
        row = self.get(reference)
        async with self._locked(row.sha256):
            removed = await self._db.write(lambda tx: self.table.delete(tx, row.id))
            if removed:
                # After the commit: a crash between leaves a file without a row, swept at start.
                await asyncio.to_thread(self._blobs.delete, row.sha256)
        self._index.notify()

    def vector(self, row: ImageRow, *, space: str) -> NDArray[np.float32]:
        """The stored embedding, float32 (d,); IndexUnavailable while the space is filled."""
        found = self.table.embedding(row.id, space=space)
        if found is None:
            raise IndexUnavailable(f"Image {row.id} has no vector yet.", retry_after_s=5.0)
        return found

    def open(self, reference: str) -> BinaryIO:
        """The original bytes; an open file stays readable when the image is removed meanwhile.

        Blocks. Raises ImageNotFound, and StoreUnavailable when the file is missing.
        """
        row = self.get(reference)
        path = self._blobs.path(row.sha256)
        try:
            if path is not None:
                return path.open("rb")
        except FileNotFoundError:
            pass
        self.get(reference)  # Removed a moment ago: then nothing is missing.
        raise StoreUnavailable(
            f"The file of image {row.id} is missing from the blob store.",
            remedy="Restore the blobs folder from a backup, or remove the image.",
        )

    async def read(self, reference: str) -> bytes:
        """The original bytes; raises as `open`."""
        return await asyncio.to_thread(self._read, reference)

    async def thumbnail(self, reference: str, *, size: int) -> bytes:
        """A JPEG of at most `size` pixels a side."""
        return await asyncio.to_thread(
            lambda: thumbnail(self._read(reference), size=size, max_pixels=self._max_pixels)
        )

    def _read(self, reference: str) -> bytes:
        with self.open(reference) as file:
            return file.read()

    @asynccontextmanager
    async def _locked(self, digest: str) -> AsyncIterator[None]:
        """One writer per content: an add never races the delete of the same bytes."""
        lock = self._locks.get(digest)
        if lock is None:
            lock = self._locks[digest] = asyncio.Lock()
        async with lock:
            yield


def _id_or_digest(reference: str) -> int | str:
    # A number that SQLite cannot hold is no id; as a digest it is not found either.
    if reference.isascii() and reference.isdecimal() and len(reference) < 20:
        return min(int(reference), MAX_ID)
    return reference
