"""Turn an error into its JSON answer."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from skerry.api.contract import Answer
from skerry.errors import Overloaded, RangeNotSatisfiable, ServiceUnavailable, SkerryError


class ErrorBody(msgspec.Struct):
    """What went wrong, and what to do."""

    code: str
    message: str
    remedy: str
    request_id: str


class ErrorAnswer(msgspec.Struct):
    """Every error has this shape."""

    error: ErrorBody


def error_body(error: SkerryError, request_id: str) -> ErrorBody:
    """The error as it stands in an answer; text that is not valid Unicode is replaced."""
    return ErrorBody(error.code, clean(error.message), clean(error.remedy), request_id)


def error_answer(error: SkerryError, request_id: str) -> Answer:
    """The error as an answer of its status."""
    headers: dict[str, str] = {}
    if error.status == 401:
        headers["www-authenticate"] = 'Bearer realm="skerry"'
    if isinstance(error, RangeNotSatisfiable):
        headers["content-range"] = f"bytes */{error.size}"
    if isinstance(error, ServiceUnavailable | Overloaded):
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s or 1)))
    body = msgspec.json.encode(ErrorAnswer(error_body(error, request_id)))
    return Answer(error.status, body, headers=headers)


def internal_error() -> SkerryError:
    """What a client sees of a bug; the log has the rest under the same request id."""
    return SkerryError(
        "The node failed on this request.",
        remedy="This is a bug: please report it with the request id and the node's log.",
    )


def clean(text: Any) -> str:
    """Lone surrogates cannot be encoded: replace them."""
    return str(text).encode("utf-8", "replace").decode("utf-8")
