"""Exact search in numpy: the small case, and the oracle the other backends are held against."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from skerry.errors import IndexUnavailable
from skerry.vectors.base import (
    Changes,
    CollectionSpec,
    CollectionStatus,
    Distance,
    Filter,
    Float32,
    Match,
    check_limit,
    check_vector,
    check_vectors,
)
from skerry.vectors.filters import holds, measure


class ExactVectors:
    """All vectors in memory, each compared with the query. Keeps nothing on disk.

    Every start replays the log, and a filter is evaluated in Python for every point (some
    microseconds each): good to about ten thousand points.
    """

    class Options(msgspec.Struct, forbid_unknown_fields=True):
        """No settings."""

    def __init__(self, options: Options, *, folder: Path) -> None:
        self._folder = folder
        self._spec: CollectionSpec | None = None
        self._applied_seq = 0
        self._rows: dict[int, int] = {}
        self._ids: list[int] = []
        self._payloads: list[Mapping[str, Any]] = []
        self._vectors: Float32 = np.empty((0, 0), np.float32)
        # Searches run in threads, so that a long one does not hold the event loop.
        self._lock = threading.Lock()
        self._closed = asyncio.Event()

    async def open(self, spec: CollectionSpec) -> CollectionStatus:
        """Start empty: the log is replayed from its start."""
        self._spec = spec
        self._vectors = np.empty((16, spec.size), np.float32)
        return self._status()

    async def apply(self, changes: Changes) -> CollectionStatus:
        """Apply changes; Unprocessable for a vector that does not fit, then nothing is applied."""
        size = self._opened().size
        vectors = check_vectors([point.vector for point in changes.upserts], size=size)
        return await asyncio.to_thread(self._apply, changes, vectors)

    async def search(
        self, vector: Float32, *, limit: int, filter: Filter | None = None, exact: bool = False
    ) -> list[Match]:
        """The nearest points to float32 (size,), nearest first; always exact."""
        query = check_vector(vector, size=self._opened().size)
        check_limit(limit)
        if filter is not None:
            measure(filter)
        return await asyncio.to_thread(self._search, query, limit, filter)

    async def status(self) -> CollectionStatus:
        """Counts and the applied seq."""
        self._opened()
        return self._status()

    async def flush(self) -> None:
        """Nothing is on disk."""

    async def optimised(self, folder: Path) -> None:
        """Nothing to gain."""

    async def gone(self) -> None:
        """Return once closed."""
        await self._closed.wait()

    async def close(self) -> None:
        """Free the memory."""
        self._closed.set()
        self._spec = None
        with self._lock:
            self._rows, self._ids, self._payloads = {}, [], []
            self._vectors = np.empty((0, 0), np.float32)

    async def destroy(self) -> None:
        """The same as close."""
        await self.close()

    def _opened(self) -> CollectionSpec:
        if self._spec is None:
            raise IndexUnavailable("The exact index is closed.")
        return self._spec

    def _status(self) -> CollectionStatus:
        return CollectionStatus(len(self._ids), len(self._ids), self._applied_seq)

    def _apply(self, changes: Changes, vectors: Float32) -> CollectionStatus:
        with self._lock:
            for point, vector in zip(changes.upserts, vectors, strict=True):
                self._put(point.id, vector, point.payload)
            for deleted in changes.deletes:
                self._remove(deleted)
            self._applied_seq = changes.seq
            return self._status()

    def _put(self, id: int, vector: Float32, payload: Mapping[str, Any]) -> None:
        row = self._rows.setdefault(id, len(self._ids))
        if row == len(self._ids):
            self._ids.append(id)
            self._payloads.append(payload)
            if row == len(self._vectors):
                self._vectors = np.resize(self._vectors, (2 * row, self._vectors.shape[1]))
        self._vectors[row] = vector
        self._payloads[row] = payload

    def _remove(self, id: int) -> None:
        row = self._rows.pop(id, None)
        if row is None:
            return
        last_id, last_payload = self._ids.pop(), self._payloads.pop()
        if last_id != id:
            self._vectors[row] = self._vectors[len(self._ids)]
            self._ids[row], self._payloads[row], self._rows[last_id] = last_id, last_payload, row

    def _search(self, query: Float32, limit: int, filter: Filter | None) -> list[Match]:
        with self._lock:
            if self._spec is None:
                raise IndexUnavailable("The exact index is closed.")
            rows = np.arange(len(self._ids))
            if filter is not None:
                kept = [row for row, payload in enumerate(self._payloads) if holds(filter, payload)]
                rows = np.array(kept, dtype=np.intp)
            scores = score(query, self._vectors[rows], distance=self._spec.distance)
            order = np.argsort(scores if self._spec.distance == "euclid" else -scores)[:limit]
            return [Match(self._ids[rows[n]], float(scores[n])) for n in order]


def score(query: Float32, vectors: Float32, *, distance: Distance) -> Float32:
    """Similarity of float32 (size,) to each of float32 (n, size); for euclid: the distance.

    The cosine with a zero vector is 0.
    """
    if distance == "euclid":
        return np.asarray(np.linalg.norm(vectors - query, axis=1), np.float32)
    products: Float32 = vectors @ query
    if distance == "dot":
        return products
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    similarity: Float32 = np.zeros_like(products)
    np.divide(products, norms, out=similarity, where=norms > 0)
    return similarity
