"""What an endpoint declares of itself: routing, authorisation and /openapi.json derive from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

import msgspec
from starlette.types import Receive, Scope

from skerry.api.intake import Intake
from skerry.auth.keys import Key
from skerry.errors import SkerryError
from skerry.node.node import Node
from skerry.pipelines.stages import Stages

Access = Literal["public", "read", "infer", "write", "admin"]
BodyForm = Literal["image", "images", "documents", "json"]
Dialect = Literal["native", "openai", "tei"]


@dataclass(slots=True)
class Exchange:
    """One request on its way to an answer: what the handler reads, and what it notes."""

    node: Node
    scope: Scope
    receive: Receive
    headers: Mapping[bytes, bytes]
    request_id: str
    deadline: float
    """In `loop.time()` seconds."""
    intake: Intake
    held_bytes: int = 0
    """What this request holds of the intake; given back when it is answered."""
    query: Any = None
    """The route's query Struct, parsed."""
    key: Key | None = None
    """The caller's key; None while the node is open."""
    stages: Stages = field(default_factory=Stages)
    timed: bool = False
    """True: the answer carries `Server-Timing`."""

    def restart_deadline(self) -> None:
        """Count `limits.deadline_s` from now on."""
        now = asyncio.get_running_loop().time()
        self.deadline = now + self.node.settings.limits.deadline_s

    def hold(self, total_bytes: int) -> None:
        """Hold `total_bytes` of body in all; Overloaded when other requests hold too much."""
        self.intake.take(total_bytes - self.held_bytes)
        self.held_bytes = total_bytes

    @property
    def path(self) -> dict[str, str]:
        """Path parameters."""
        return self.scope["path_params"]  # type: ignore[no-any-return]


@dataclass(slots=True)
class Answer:
    """A status, a body and headers, ready to send."""

    status: int = 200
    body: bytes = b""
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class FileAnswer:
    """`length` bytes of an open file from `start` on; it is closed when they are sent."""

    file: BinaryIO
    length: int
    media_type: str
    start: int = 0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


UNBUFFERED = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""So that no proxy on the way holds pieces back."""


@dataclass(slots=True)
class StreamAnswer:
    """Chunks sent as they are made; `chunks` is closed at once when the client goes away.

    What fails before the first chunk fails in the handler, and is answered with its status.
    """

    chunks: AsyncGenerator[bytes, None]
    failed: Callable[[SkerryError], bytes]
    """The last chunk of a stream that failed."""
    media_type: str = "text/event-stream"
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: dict(UNBUFFERED))


AnyAnswer = Answer | FileAnswer | StreamAnswer
Handler = Callable[[Exchange], Awaitable[AnyAnswer]]


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A path without query parameters."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path."""

    method: str
    path: str
    access: Access
    handler: Handler
    summary: str
    query: type[msgspec.Struct] = NoQuery
    free_query: str = ""
    """Prefix of query parameters of any name, such as `tag.`."""
    free_field: str = "tags"
    """Where in the query Struct they land."""
    body: BodyForm | None = None
    body_type: type[msgspec.Struct] | None = None
    answers: Mapping[int, Any] = field(default_factory=dict)
    """Type of the JSON by status; a string names another media type; None: no body."""
    streams: bool = False
    """Whether it may answer 200 by server-sent events instead."""
    errors: tuple[int, ...] = ()
    """Error statuses beyond those that every route may answer."""
    errors_as: Dialect = "native"
    """The protocol in whose shape errors are answered."""


def json_answer(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """Encode Structs, dataclasses and plain values."""
    return Answer(status, msgspec.json.encode(value), headers=headers or {})
