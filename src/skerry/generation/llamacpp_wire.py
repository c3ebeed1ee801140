"""What the node asks of a llama.cpp worker, beside what goes over the worker's own socket."""

from __future__ import annotations

import msgspec


class Load(msgspec.Struct, frozen=True, tag=True):
    """Load a GGUF file and serve it on a Unix socket. Answered with nothing, or ModelInvalid."""

    file: str
    socket: str
    """Path of the socket to make; it ends in `.sock`."""
    log: str
    """File that gets what llama.cpp says while it loads, kept should it crash."""
    slots: int
    context: int
    """Tokens of each slot."""
    threads: int


class CheckGrammar(msgspec.Struct, frozen=True, tag=True):
    """Whether llama.cpp can sample by it. Answered with nothing, or Unprocessable."""

    grammar: str


Call = Load | CheckGrammar


def encode(call: Call) -> bytes:
    """The body of a CALL frame."""
    return msgspec.msgpack.encode(call)


def decode_call(body: bytes) -> Call:
    """The call in a CALL frame."""
    call: Call = msgspec.msgpack.decode(body, type=Call)
    return call
