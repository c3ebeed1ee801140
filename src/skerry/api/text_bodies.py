"""Read the JSON of the text protocols: bounded, and refused by the name of the field."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from skerry.api.bodies import parse_json, read_body
from skerry.api.contract import Exchange
from skerry.errors import BadRequest, FieldRefused, PayloadTooLarge

MAX_BODY_BYTES = 8 << 20
"""A text body beyond it is answered 413: nobody waits for 10 MB to be tokenised."""
MAX_TEXTS = 2048
"""Texts in one call, as OpenAI's API has it."""
MAX_INT = (1 << 31) - 1
ModelName = Annotated[str, Meta(min_length=1, max_length=200)]
T = TypeVar("T")

_AT = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_NAMED = re.compile(r"(?:unknown|missing required) field `(?P<name>[^`]*)`")


async def read_text_body(exchange: Exchange) -> bytes:
    """The whole body; PayloadTooLarge beyond MAX_BODY_BYTES, at once where its length is told."""
    declared = exchange.headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        raise _too_large()
    body = await read_body(exchange)
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    return body


async def read_text_json(exchange: Exchange, shape: type[T]) -> T:
    """The body as `shape`; FieldRefused names the field that does not fit."""
    body = await read_text_body(exchange)
    try:
        return parse_json(body, shape)
    except BadRequest as error:
        field = _field_in(error.message.removesuffix("."))
        if not field:
            raise
        raise FieldRefused(error.message, field=field) from None


def refuse_unsupported(request: msgspec.Struct, neutral: Mapping[str, Sequence[Any]]) -> None:
    """FieldRefused for a field of `neutral` whose value asks for what this node cannot do."""
    for name, harmless in neutral.items():
        value = getattr(request, name)
        if value is not None and value not in harmless:
            raise FieldRefused(
                f"'{name}' is not supported by this node.", field=name, remedy="Leave it out."
            )


def _field_in(message: str) -> str:
    """The field a decoding error speaks of: `messages[0].role`; empty when it names none."""
    at, named = _AT.search(message), _NAMED.search(message)
    parts = [at["path"] if at else "", named["name"] if named else ""]
    return ".".join(part for part in parts if part)


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The body is larger than {MAX_BODY_BYTES} bytes.", remedy="Send fewer texts at a time."
    )
