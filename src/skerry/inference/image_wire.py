"""What a node asks of an image model's process."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from skerry.config import ModelSettings
from skerry.errors import SkerryError
from skerry.inference.base import EngineInfo, Extracted, Extractions
from skerry.workers.frames import decode_error, encode_error


class Load(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Load an installed model. Answered by Loaded, or by what loading raises."""

    folder: str
    """Where models are installed."""
    name: str
    settings: ModelSettings
    max_pixels: int


class Loaded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The model is ready."""

    info: EngineInfo
    streams: int
    max_batch: int
    elapsed_s: float


class Run(msgspec.Struct, frozen=True, tag=True):
    """Features of these images. Answered by Ran."""

    images: Sequence[bytes]


class Ran(msgspec.Struct, frozen=True):
    """The answer to Run: of each image its features, or its error as frames carry one."""

    outcomes: list[Extracted | bytes]
    inference_s: float


_CALL = msgspec.msgpack.Decoder(Load | Run)
_RAN = msgspec.msgpack.Decoder(Ran)


def encode(value: Load | Loaded | Run) -> bytes:
    """The body of a frame."""
    return msgspec.msgpack.encode(value)


def decode_call(body: bytes) -> Load | Run:
    """The call in a CALL frame."""
    return _CALL.decode(body)  # type: ignore[no-any-return]


def decode_loaded(body: bytes) -> Loaded:
    """The answer to Load."""
    return msgspec.msgpack.decode(body, type=Loaded)


def encode_extractions(extractions: Extractions) -> bytes:
    """The answer to Run."""
    outcomes = [
        encode_error(outcome) if isinstance(outcome, SkerryError) else outcome
        for outcome in extractions.outcomes
    ]
    return msgspec.msgpack.encode(Ran(outcomes, extractions.inference_s))


def decode_extractions(body: bytes) -> Extractions:
    """The inverse of `encode_extractions`."""
    ran: Ran = _RAN.decode(body)
    outcomes = [
        decode_error(outcome) if isinstance(outcome, bytes) else outcome for outcome in ran.outcomes
    ]
    return Extractions(outcomes, ran.inference_s)
