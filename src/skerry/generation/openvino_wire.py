"""What a node asks of its OpenVINO worker; answers are the events of `base`."""

from __future__ import annotations

import msgspec

from skerry.generation.base import Event, GenerationRequest, Message, Sampling, Tool


class Load(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Load a GGUF file. Answered by Loaded, ModelInvalid or ModelUnavailable."""

    file: str
    cache: str
    """Folder for what is made of the file once; its parent exists."""
    slots: int
    context: int
    threads: int


class Loaded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The model is ready."""

    elapsed_s: float
    cached: bool
    """Whether the tokeniser was made by an earlier start."""


class Generate(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Continue the one of the three prompts that is given. Answered by events, piece by piece."""

    messages: tuple[Message, ...] | None = None
    text: str | None = None
    ids: tuple[int, ...] | None = None
    tools: tuple[Tool, ...] = ()
    parallel_calls: bool = True
    sampling: Sampling

    @classmethod
    def of(cls, request: GenerationRequest) -> Generate:
        """The request, in the form that goes over the wire."""
        prompt, tools, sampling = request.prompt, request.tools, request.sampling
        if isinstance(prompt, str):
            return cls(text=prompt, sampling=sampling)
        if prompt and isinstance(prompt[0], Message):
            messages: tuple[Message, ...] = prompt
            return cls(
                messages=messages,
                tools=tools,
                parallel_calls=request.parallel_calls,
                sampling=sampling,
            )
        return cls(ids=prompt, sampling=sampling)  # type: ignore[arg-type]


class Count(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How many tokens a plain text has. Answered by the number."""

    text: str


Call = Load | Generate | Count
_CALL = msgspec.msgpack.Decoder(Call)
_EVENT = msgspec.msgpack.Decoder(Event)


def encode(value: Call | Event | Loaded | int) -> bytes:
    """The body of a frame."""
    return msgspec.msgpack.encode(value)


def decode_call(body: bytes) -> Call:
    """The call in a CALL frame."""
    return _CALL.decode(body)  # type: ignore[no-any-return]


def decode_event(body: bytes) -> Event:
    """An event in a PART or ANSWER frame."""
    return _EVENT.decode(body)  # type: ignore[no-any-return]


def decode_loaded(body: bytes) -> Loaded:
    """The answer to Load."""
    return msgspec.msgpack.decode(body, type=Loaded)


def decode_count(body: bytes) -> int:
    """The answer to Count."""
    return msgspec.msgpack.decode(body, type=int)
