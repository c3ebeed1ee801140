"""Read a request's body: bounded, and never longer than a client may keep us waiting."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from typing import TypeVar

import msgspec
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from skerry.api.contract import Exchange
from skerry.deadlines import Wait
from skerry.errors import (
    BadRequest,
    PayloadTooLarge,
    SkerryError,
    UnknownField,
    UnsupportedMediaType,
)

IDLE_S = 15.0
TOTAL_S = 120.0
MAX_FILES = 1000
MAX_FIELD_BYTES = 1 << 20
T = TypeVar("T")
Chunks = AsyncGenerator[bytes, None]


class BodyIncomplete(SkerryError):
    """The body stopped arriving."""

    code, status = "body_incomplete", 408


class ClientGone(Exception):
    """The client closed the connection before its request was whole: nobody to answer."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """One uploaded file."""

    filename: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart body: its files, and its other fields."""

    files: list[FilePart]
    fields: dict[str, str]


class Base64Image(msgspec.Struct, forbid_unknown_fields=True):
    """An image inside JSON."""

    image: str


class _InMemoryParser(MultiPartParser):
    spool_max_size = 1 << 30  # The body is bounded already: no part ever goes to disk.


def content_type(exchange: Exchange) -> str:
    """The media type without its parameters, lower case."""
    raw = exchange.headers.get(b"content-type", b"").decode("latin-1")
    return raw.partition(";")[0].strip().lower()


async def read_body(exchange: Exchange) -> bytes:
    """The whole body."""
    return await _in_time(exchange, _joined)


async def read_json(exchange: Exchange, shape: type[T]) -> T:
    """The body as `shape`; BadRequest or UnknownField name what is wrong."""
    return parse_json(await read_body(exchange), shape)


def parse_json(data: bytes, shape: type[T]) -> T:
    """Decode JSON strictly into `shape`."""
    try:
        return msgspec.json.decode(data, type=shape)
    except msgspec.ValidationError as error:
        kind = UnknownField if "unknown field" in str(error) else BadRequest
        raise kind(f"The JSON body does not fit: {error}.") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise BadRequest("The JSON body is nested too deeply.") from None


async def read_form(exchange: Exchange) -> Form:
    """A multipart/form-data body; parts named `file`, or with a filename, are files."""
    headers = Headers(raw=list(exchange.headers.items()))

    def parsed(chunks: Chunks) -> Awaitable[FormData]:
        parser = _InMemoryParser(
            headers,
            chunks,
            max_files=MAX_FILES,
            max_fields=100,
            max_part_size=MAX_FIELD_BYTES,
        )
        return parser.parse()

    try:
        form = await _in_time(exchange, parsed)
    except MultiPartException as error:
        raise BadRequest(f"The multipart body is broken: {error.message}") from None
    except (KeyError, ValueError, LookupError) as error:
        # Boundary absent or not ASCII, unknown charset: the parser has no error of its own.
        raise BadRequest(f"The multipart body is broken: {error}.") from None
    return await _as_form(form)


async def read_image(exchange: Exchange) -> FilePart:
    """One image: multipart `file`, JSON `{"image": base64}`, or the raw body of any type."""
    kind = content_type(exchange)
    if kind == "multipart/form-data":
        form = await read_form(exchange)
        if form.fields:
            raise UnknownField(f"Unknown form field '{next(iter(form.fields))[:80]}'.")
        return the_file(form)
    body = await read_body(exchange)
    if kind == "application/json" and body.lstrip()[:1] == b"{":
        return FilePart("", decode_base64(parse_json(body, Base64Image).image))
    # The bytes decide: curl --data-binary says application/x-www-form-urlencoded.
    return FilePart("", _not_empty(body))


def the_file(form: Form) -> FilePart:
    """The one file of a form."""
    if len(form.files) != 1:
        raise BadRequest(
            f"The form has {len(form.files)} files where one is expected.",
            remedy="Send the image as the multipart field 'file'.",
        )
    return FilePart(form.files[0].filename, _not_empty(form.files[0].data))


def decode_base64(text: str) -> bytes:
    """Standard base64, with or without a `data:` URL's prefix."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return _not_empty(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise BadRequest("'image' is not valid base64.") from None


def require_form(exchange: Exchange) -> None:
    """UnsupportedMediaType when the body is no form."""
    if content_type(exchange) != "multipart/form-data":
        raise UnsupportedMediaType(
            "This path reads multipart/form-data.", remedy="Send the image as the field 'file'."
        )


async def _in_time(exchange: Exchange, read: Callable[[Chunks], Awaitable[T]]) -> T:
    """What `read` makes of the body; BodyIncomplete when it stops arriving."""
    now = asyncio.get_running_loop().time()
    try:
        with exchange.intake.patience.at(now + IDLE_S) as wait:
            return await read(_chunks(exchange, wait, end=now + TOTAL_S))
    except TimeoutError:
        raise BodyIncomplete("The body stopped arriving.", remedy="Send it again.") from None


async def _chunks(exchange: Exchange, wait: Wait, *, end: float) -> Chunks:
    """The body as it arrives; PayloadTooLarge or Overloaded before too much is held."""
    limit = exchange.node.settings.limits.max_body_bytes
    declared = exchange.headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    loop = asyncio.get_running_loop()
    received = 0
    while True:
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body = message.get("body", b"")
        received += len(body)
        if received > limit:
            raise _too_large(limit)
        # What was promised and not sent is not held: promises cost a client nothing.
        exchange.hold(received)
        if body:
            yield body
        if not message.get("more_body"):
            # The deadline is for our work: a client on a slow line has time of its own.
            exchange.restart_deadline()
            return
        wait.until = min(end, loop.time() + IDLE_S)


async def _joined(chunks: Chunks) -> bytes:
    # Shares the first part, so that a body that comes whole is not copied; grows in place and
    # hands its memory over, as joining parts would hold the body twice.
    buffer = BytesIO(await anext(chunks, b""))
    buffer.seek(0, SEEK_END)
    async for part in chunks:
        buffer.write(part)
    return buffer.getvalue()


async def _as_form(form: FormData) -> Form:
    files, fields = [], {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != "file":
                raise UnknownField(f"Unknown file field '{name[:80]}'.", remedy="Name it 'file'.")
            files.append(FilePart(value.filename or "", await value.read()))
            await value.close()
        elif name == "file":
            # A part named file without a filename: its bytes went through text.
            raise BadRequest("The part 'file' has no filename.", remedy="Send it as a file.")
        else:
            fields[name] = value
    return Form(files, fields)


def _not_empty(data: bytes) -> bytes:
    if not data:
        raise BadRequest("The body is empty.", remedy="Send the bytes of an image.")
    return data


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The body is larger than {limit} bytes.",
        remedy="Send less at a time, or raise limits.max_body_bytes.",
    )
