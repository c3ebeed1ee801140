"""The contract of a vector index: collections of points, searched by similarity and filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Distance = Literal["cosine", "dot", "euclid"]
FieldType = Literal["keyword", "integer", "float", "bool", "datetime", "geo", "text"]


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """One collection: its vectors' space, size and distance, and the payload fields indexed."""

    name: str
    space: str
    size: int
    distance: Distance = "cosine"
    fields: Mapping[str, FieldType] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Point:
    """A vector (float32 (size,)) with an id and a JSON-like payload."""

    id: int
    vector: Float32
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Match:
    """A found point; `score` is the similarity, larger is nearer (for euclid: the distance)."""

    id: int
    score: float


class Range(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Bounds on a number."""

    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None


class Condition(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One test of a payload field: `value` equals, `any` of, `except_` none of, or in `range`."""

    key: str
    value: str | int | bool | None = None
    any: tuple[str | int, ...] | None = None
    except_: tuple[str | int, ...] | None = None
    range: Range | None = None


class Filter(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """All of `must`, at least one of `should` (when any stand there), none of `must_not`."""

    must: tuple[Filter | Condition, ...] = ()
    should: tuple[Filter | Condition, ...] = ()
    must_not: tuple[Filter | Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """What the log says up to `seq`: points to upsert and ids to delete, applied as one step."""

    seq: int
    upserts: Sequence[Point]
    deletes: Sequence[int]


@dataclass(frozen=True, slots=True)
class CollectionStatus:
    """A collection as it stands: points held, of them in the graph index, log applied up to."""

    points: int
    indexed: int
    applied_seq: int


class VectorIndex(Protocol):
    """A view over the log: it may be thrown away and rebuilt at any time.

    `open` brings back the last flushed state; `applied_seq` then says from where the log is to be
    replayed (0: from the start). Applying a change twice is harmless. A vector of another size,
    or with NaN or infinity, raises Unprocessable; an engine that is gone raises IndexUnavailable.
    """

    async def open(self, spec: CollectionSpec) -> CollectionStatus:
        """Open or create the collection; one of another space, size or distance is refused."""

    async def apply(self, changes: Changes) -> None:
        """Apply changes in order of `seq`."""

    async def search(
        self, vector: Float32, *, limit: int, filter: Filter | None = None, exact: bool = False
    ) -> list[Match]:
        """The nearest points to float32 (size,), nearest first."""

    async def status(self) -> CollectionStatus:
        """Counts and the applied seq."""

    async def flush(self) -> None:
        """Make what was applied survive a restart."""

    async def close(self) -> None:
        """Flush and free."""

    async def destroy(self) -> None:
        """Close and delete what is on disk."""
