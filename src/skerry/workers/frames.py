"""The frames between a node and its worker: a header, then a body the worker's owner encodes."""

from __future__ import annotations

import struct
from typing import NamedTuple

import msgspec

from skerry.errors import SkerryError

HEADER = struct.Struct("<IIB")  # length of the body, id of the call, kind of the frame
MAX_BODY_BYTES = 1 << 30

CALL = 0
ANSWER = 1
ERROR = 2
PART = 3
"""A piece of an answer; ANSWER or ERROR ends it."""
CANCEL = 4
"""From the node: whoever made the call has gone. The worker still answers it."""


class Frame(NamedTuple):
    """One message; an answer carries the id of its call."""

    call_id: int
    kind: int
    body: bytes


class WireError(msgspec.Struct, array_like=True):
    """A domain error on its way to the caller."""

    code: str
    message: str
    remedy: str
    retry_after_s: float | None


def encode_error(error: SkerryError) -> bytes:
    """The body of an ERROR frame."""
    return msgspec.msgpack.encode(
        WireError(error.code, error.message, error.remedy, error.retry_after_s)
    )


def decode_error(body: bytes) -> SkerryError:
    """The domain error in an ERROR frame, as the class that has its code."""
    wire = msgspec.msgpack.decode(body, type=WireError)
    kind = _class_of(wire.code, SkerryError) or SkerryError
    return kind(wire.message, remedy=wire.remedy, retry_after_s=wire.retry_after_s)


class Splitter:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._needed = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take what arrived; the frames that are complete now. ValueError for a senseless one."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        frames: list[Frame] = []
        start = 0
        while (end := _end_of_frame(data, start)) <= len(data):
            _, call_id, kind = HEADER.unpack_from(data, start)
            frames.append(Frame(call_id, kind, data[start + HEADER.size : end]))
            start = end
        self._rest += data[start:]
        self._needed = end - start
        return frames


def _end_of_frame(data: bytes, start: int) -> int:
    """Where the frame ends, as far as can be told."""
    body = start + HEADER.size
    if len(data) < body:
        return body
    length: int = HEADER.unpack_from(data, start)[0]
    if length > MAX_BODY_BYTES:
        raise ValueError(f"a frame of {length} bytes")
    return body + length


def _class_of(code: str, base: type[SkerryError]) -> type[SkerryError] | None:
    for kind in base.__subclasses__():
        if kind.code == code:
            return kind
        deeper = _class_of(code, kind)
        if deeper is not None:
            return deeper
    return None
