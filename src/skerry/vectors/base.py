"""The contract of a vector index: collections of points, searched by similarity and filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from skerry.errors import BadRequest, Unprocessable
from skerry.filters import Condition as Condition
from skerry.filters import Filter as Filter
from skerry.filters import Range as Range

Float32 = NDArray[np.float32]
Distance = Literal["cosine", "dot", "euclid"]
FieldType = Literal["keyword", "integer", "float", "bool", "datetime", "geo", "text"]


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """One collection: its vectors' space, size and distance, and the payload fields indexed.

    `epoch` names the log that feeds it: what was built from another log is thrown away.
    """

    name: str
    space: str
    size: int
    distance: Distance = "cosine"
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """A vector (float32 (size,)) with an id and a JSON-like payload."""

    id: int
    vector: Float32
    payload: Mapping[str, Any]


class Match(msgspec.Struct, frozen=True, array_like=True):
    """A found point; `score` is the similarity, larger is nearer (for euclid: the distance)."""

    id: int
    score: float


@dataclass(frozen=True, slots=True)
class Changes:
    """What the log says up to `seq`: points to upsert and ids to delete, applied as one step."""

    seq: int
    upserts: Sequence[Point]
    deletes: Sequence[int]


@dataclass(frozen=True, slots=True)
class CollectionStatus:
    """A collection as it stands: points held, of them in the graph index, log applied up to.

    `optimisable` is true when an optimised copy would pay; `doubtful` when the machine went down
    while it was in use, so that it is to be rebuilt though it can be searched.
    """

    points: int
    indexed: int
    applied_seq: int
    optimisable: bool = False
    doubtful: bool = False


class VectorIndex(Protocol):
    """A view over the log: it may be thrown away and rebuilt at any time.

    An engine that is gone, or a server that did not answer, raises IndexUnavailable from every
    call, and is not brought back: make another backend over the same folder and replay the log
    from its `applied_seq`.
    """

    async def open(self, spec: CollectionSpec) -> CollectionStatus:
        """Open or create the collection, as it was at the last flush.

        `applied_seq` says from where the log is to be replayed (0: from the start, because
        nothing usable was there). Raises SpaceMismatch for one of another space, size, distance.
        """

    async def apply(self, changes: Changes) -> CollectionStatus:
        """Apply changes; calls come in order of `seq`. Applying a change twice is harmless.

        Raises Unprocessable for a vector of another size, or with NaN or infinity: then nothing
        of `changes` is applied.
        """

    async def search(
        self, vector: Float32, *, limit: int, filter: Filter | None = None, exact: bool = False
    ) -> list[Match]:
        """The nearest points to float32 (size,), nearest first.

        Raises BadRequest for a limit outside 1 to MAX_LIMIT or a filter that is too large,
        Unprocessable for the vector, Overloaded when too many searches wait.
        """

    async def status(self) -> CollectionStatus:
        """Counts and the applied seq."""

    async def flush(self) -> None:
        """Make what was applied survive a crash and a loss of power."""

    async def optimised(self, folder: Path) -> VectorIndex | None:
        """An open copy of itself in `folder`, built for speed; None when it has nothing to gain.

        Searches and changes go on meanwhile; the copy is as old as its `applied_seq` says.
        """

    async def gone(self) -> None:
        """Return once the engine has died or was closed."""

    async def close(self) -> None:
        """Flush and free."""

    async def destroy(self) -> None:
        """Close and delete what is on disk or on a server; also where it was never opened.

        Raises IndexUnavailable when that cannot be reached: then the folder stays.
        """


MAX_LIMIT = 1000


def check_vector(vector: Float32, *, size: int) -> Float32:
    """`vector` as contiguous float32 (size,); Unprocessable for another size, NaN or infinity."""
    checked = np.ascontiguousarray(vector, dtype=np.float32)
    if checked.shape != (size,):
        raise Unprocessable(f"The vector has {checked.size} values; this collection has {size}.")
    # NaN and infinity survive the product, at a tenth of the cost of looking at each value; a
    # product that overflows proves nothing yet.
    if not isfinite(np.dot(checked, checked)) and not np.isfinite(checked).all():
        raise Unprocessable("The vector holds NaN or infinity.")
    return checked


def check_vectors(vectors: Sequence[Float32], *, size: int) -> Float32:
    """All vectors as one float32 (n, size); Unprocessable as `check_vector`."""
    if any(np.shape(vector) != (size,) for vector in vectors):
        for vector in vectors:
            check_vector(vector, size=size)
    matrix = np.asarray(vectors, dtype=np.float32).reshape(len(vectors), size)
    if not np.isfinite(matrix).all():
        raise Unprocessable("A vector holds NaN or infinity.")
    return matrix


def check_limit(limit: int) -> None:
    """BadRequest for a limit outside 1 to MAX_LIMIT."""
    if not 1 <= limit <= MAX_LIMIT:
        raise BadRequest(f"'limit' must be from 1 to {MAX_LIMIT}.")
