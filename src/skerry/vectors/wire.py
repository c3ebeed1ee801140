"""The calls a node makes to its vector worker, as msgpack."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from skerry.vectors.base import CollectionSpec, CollectionStatus, Filter, Match

Quantization = Literal["scalar", "none"]


class Tuning(msgspec.Struct, array_like=True):
    """How the engine keeps vectors, and how it builds and searches its graph."""

    m: int
    ef_construct: int
    ef: int
    slice_points: int
    quantization: Quantization = "scalar"


class Open(msgspec.Struct, tag=True, array_like=True):
    """Open the folder; answered by Opened."""

    folder: str
    spec: CollectionSpec
    tuning: Tuning


class Apply(msgspec.Struct, tag=True, array_like=True):
    """Apply changes; answered by CollectionStatus.

    `vectors` are the raw float32 values of `ids`, one after the other.
    """

    seq: int
    ids: list[int]
    vectors: bytes
    payloads: list[dict[str, Any]]
    deletes: list[int]


class Search(msgspec.Struct, tag=True, array_like=True):
    """Search; answered by a list of Match. A thorough one is exact, and gives way to others."""

    vector: bytes
    limit: int
    filter: Filter | None
    thorough: bool


class Status(msgspec.Struct, tag=True, array_like=True):
    """Ask for the CollectionStatus."""


class Flush(msgspec.Struct, tag=True, array_like=True):
    """Sync what was applied; answered by CollectionStatus."""


class Close(msgspec.Struct, tag=True, array_like=True):
    """Flush and free; answered by nothing."""


class Copy(msgspec.Struct, tag=True, array_like=True):
    """Copy a flushed collection; answered by nothing."""

    source: str
    target: str


class Build(msgspec.Struct, tag=True, array_like=True):
    """Build the graph of a collection nobody has open; answered by nothing."""

    folder: str
    spec: CollectionSpec
    tuning: Tuning


Call = Open | Apply | Search | Status | Flush | Close | Copy | Build


class Opened(msgspec.Struct, array_like=True):
    """The collection is open; `discarded` says why an earlier state was not used."""

    status: CollectionStatus
    discarded: str


encode = msgspec.msgpack.Encoder().encode
decode_call = msgspec.msgpack.Decoder(Call).decode
decode_opened = msgspec.msgpack.Decoder(Opened).decode
decode_status = msgspec.msgpack.Decoder(CollectionStatus).decode
decode_matches = msgspec.msgpack.Decoder(list[Match]).decode
