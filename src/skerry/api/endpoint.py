"""Serve one route: authorise, parse, handle, answer, count."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from skerry.api.bodies import ClientGone
from skerry.api.contract import Answer, AnyAnswer, Exchange, FileAnswer, Route, StreamAnswer
from skerry.api.faults import clean, error_answer, internal_error
from skerry.api.guard import authorise
from skerry.api.intake import Intake
from skerry.api.streaming import send_stream
from skerry.errors import (
    BadRequest,
    MethodNotAllowed,
    SkerryError,
    UnknownField,
)
from skerry.node.node import Node

log = logging.getLogger("skerry.http")

CHUNK_BYTES = 1 << 18
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Endpoint:
    """The ASGI app of one path: a route for each method."""

    def __init__(self, node: Node, routes: list[Route], *, intake: Intake) -> None:
        self._node = node
        self._intake = intake
        self._routes = {route.method: route for route in routes}
        if "GET" in self._routes:
            self._routes.setdefault("HEAD", self._routes["GET"])
        self.methods = frozenset(self._routes)
        self._label = routes[0].path
        self._errors_as = routes[0].errors_as
        self._traffic = node.traffic
        self._requests = {
            route.method: {
                status: node.metrics.requests.labels(self._label, route.method, str(status))
                for status in (200, 201, 204)
            }
            for route in routes
        }
        self._duration = node.metrics.request_duration.labels(self._label)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = time.perf_counter()
        headers = dict(scope["headers"])
        exchange = Exchange(
            node=self._node,
            scope=scope,
            receive=receive,
            headers=headers,
            request_id=request_id(headers),
            deadline=asyncio.get_running_loop().time() + self._node.settings.limits.deadline_s,
            intake=self._intake,
        )
        status = 499
        try:
            answer = await self._answer(exchange)
            if isinstance(answer, StreamAnswer):
                await self._stream(answer, exchange, send)
                status = answer.status
            else:
                status = await send_answer(answer, exchange, send)
        except ClientGone:
            log.debug("client gone request_id=%s", exchange.request_id)
        finally:
            self._intake.give_back(exchange.held_bytes)
            self._count(scope["method"], status, time.perf_counter() - began, exchange)

    async def _answer(self, exchange: Exchange) -> AnyAnswer:
        try:
            route = self._routes.get(exchange.scope["method"])
            if route is None:
                return self._not_allowed(exchange)
            exchange.key = authorise(exchange, route.access)
            exchange.query = parse_query(exchange.scope["query_string"], route)
            return await route.handler(exchange)
        except ClientGone:
            raise
        except Exception as error:  # Told to the client in its protocol's shape.
            return self._failed(self._told(error, exchange), exchange)

    async def _stream(self, answer: StreamAnswer, exchange: Exchange, send: Send) -> None:
        headers = _headers(answer, exchange, length=None)
        await send_stream(
            answer, exchange, send, headers=headers,
            told=lambda error: self._told(error, exchange),
        )  # fmt: skip

    def _told(self, error: Exception, exchange: Exchange) -> SkerryError:
        """Log and count what failed; what the client may know of it."""
        told = error if isinstance(error, SkerryError) else internal_error()
        if told is not error:
            # A bug: the client gets a clean 500, the log the traceback.
            log.error("Unhandled error, request_id=%s", exchange.request_id, exc_info=error)
        elif told.status >= 500:
            log.warning(
                "%s: %s", told.code, told.message,
                extra={"fields": {"request_id": exchange.request_id}},
            )  # fmt: skip
        # The frames hold the body, and often the future that holds the error: a circle that would
        # keep megabytes until the garbage collector comes by.
        error.__traceback__ = None
        self._node.metrics.errors.labels(self._label, told.code).inc()
        return told

    def _failed(self, error: SkerryError, exchange: Exchange) -> Answer:
        return error_answer(error, exchange.request_id, shape=self._errors_as)

    def _not_allowed(self, exchange: Exchange) -> Answer:
        allow = ", ".join(sorted(self._routes))
        error = MethodNotAllowed(
            f"{clean(exchange.scope['method'])[:20]} is not allowed here.", remedy=f"Use {allow}."
        )
        answer = self._failed(error, exchange)
        answer.headers["allow"] = allow
        return answer

    def _count(self, method: str, status: int, elapsed_s: float, exchange: Exchange) -> None:
        counted = self._requests.get(method, {}).get(status)
        if counted is None:
            known = method if method in self._routes else "other"
            counted = self._node.metrics.requests.labels(self._label, known, str(status))
        counted.inc()
        self._duration.observe(elapsed_s)
        if exchange.timed:
            self._traffic.note(elapsed_s, failed=status >= 500)
            for stage, seconds in exchange.stages.seconds.items():
                self._node.stage_timers[stage].observe(seconds)


def request_id(headers: dict[bytes, bytes]) -> str:
    """The caller's id when it is 1-128 printable ASCII characters, else a new one."""
    given = headers.get(b"x-request-id", b"")
    if 1 <= len(given) <= 128 and all(32 <= byte < 127 for byte in given):
        return given.decode("ascii")
    return secrets.token_hex(8)


def parse_query(raw: bytes, route: Route) -> msgspec.Struct:
    """The query string as the route's Struct; BadRequest or UnknownField name the parameter."""
    if not raw:
        return route.query()
    values: dict[str, object] = {}
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict")
    except (UnicodeDecodeError, ValueError):
        raise BadRequest("The query string is not valid UTF-8.") from None
    for name, value in pairs:
        if route.free_query and name.startswith(route.free_query):
            free = values.setdefault(route.free_field, {})
            assert isinstance(free, dict)
            _set_once(free, name.removeprefix(route.free_query), value)
        elif name == route.free_field and route.free_query:
            remedy = f"Write {route.free_query}NAME=value."
            raise UnknownField(f"Unknown query parameter '{name}'.", remedy=remedy)
        else:
            _set_once(values, name, value)
    return _convert(values, route)


def _set_once(values: dict[str, object], name: str, value: str) -> None:
    if name in values:
        raise BadRequest(f"The query parameter '{clean(name)[:80]}' stands twice.")
    values[name] = value


def _convert(values: dict[str, object], route: Route) -> msgspec.Struct:
    known = route.query.__struct_encode_fields__
    for name in values:
        if name not in known:
            hidden = route.free_field if route.free_query else ""
            told = ", ".join(k for k in known if k != hidden) or "none"
            raise UnknownField(
                f"Unknown query parameter '{clean(name)[:80]}'.", remedy=f"Known here: {told}."
            )
    try:
        return msgspec.convert(values, route.query, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(f"A query parameter is wrong: {clean(error)}.") from None


async def send_answer(answer: Answer | FileAnswer, exchange: Exchange, send: Send) -> int:
    """Send with the headers every answer carries; the status that went out."""
    if isinstance(answer, FileAnswer):
        await _send_file(answer, exchange, send)
        return answer.status
    length = len(answer.body)
    headers = _headers(answer, exchange, length)
    body = b"" if exchange.scope["method"] == "HEAD" else answer.body
    with contextlib.suppress(OSError):  # The client may have gone while we worked.
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    return answer.status


def _headers(
    answer: AnyAnswer, exchange: Exchange, length: int | None
) -> list[tuple[bytes, bytes]]:
    body_headers = [(b"content-type", answer.media_type.encode())]
    if length is not None:
        body_headers.append((b"content-length", str(length).encode()))
    headers = [] if answer.status in (204, 304) else body_headers
    headers += [*SECURITY_HEADERS, (b"x-request-id", exchange.request_id.encode())]
    headers += ((name.encode(), value.encode("latin-1")) for name, value in answer.headers.items())
    if exchange.timed:
        headers.append((b"server-timing", exchange.stages.server_timing().encode()))
    return headers


async def _send_file(answer: FileAnswer, exchange: Exchange, send: Send) -> None:
    headers = _headers(answer, exchange, answer.length)
    left = 0 if exchange.scope["method"] == "HEAD" else answer.length
    with answer.file as file, contextlib.suppress(OSError):  # The client may have gone.
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        file.seek(answer.start)
        while left:
            data = await asyncio.to_thread(file.read, min(left, CHUNK_BYTES))
            if not data:
                raise RuntimeError("A stored file is shorter than it was a moment ago.")
            left -= len(data)
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
