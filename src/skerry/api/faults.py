"""Turn an error into its JSON answer, in the shape of the protocol that was spoken."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from skerry.api.contract import Answer, Dialect
from skerry.errors import (
    ContextLengthExceeded,
    DeadlineExceeded,
    FieldRefused,
    Overloaded,
    PayloadTooLarge,
    RangeNotSatisfiable,
    ServiceUnavailable,
    SkerryError,
    WrongTask,
)


class ErrorBody(msgspec.Struct):
    """What went wrong, and what to do."""

    code: str
    message: str
    remedy: str
    request_id: str


class ErrorAnswer(msgspec.Struct):
    """Every error has this shape."""

    error: ErrorBody


class OpenAIErrorBody(msgspec.Struct):
    """OpenAI's four members, and our two."""

    message: str
    type: str
    param: str | None
    code: str
    remedy: str
    request_id: str


class OpenAIErrorAnswer(msgspec.Struct):
    """An error as OpenAI's API shapes it."""

    error: OpenAIErrorBody


class TeiErrorAnswer(msgspec.Struct):
    """An error as text-embeddings-inference shapes it, and what our own errors have beside."""

    error: str
    error_type: str
    code: str
    remedy: str
    request_id: str


OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def error_body(error: SkerryError, request_id: str) -> ErrorBody:
    """The error as it stands in an answer; text that is not valid Unicode is replaced."""
    return ErrorBody(error.code, clean(error.message), clean(error.remedy), request_id)


def error_answer(error: SkerryError, request_id: str, *, shape: Dialect = "native") -> Answer:
    """The error as an answer of its status."""
    headers: dict[str, str] = {}
    if error.status == 401:
        headers["www-authenticate"] = 'Bearer realm="skerry"'
    if isinstance(error, RangeNotSatisfiable):
        headers["content-range"] = f"bytes */{error.size}"
    if error.status == 408:
        # The rest of the body may still come, and would be read as the next request.
        headers["connection"] = "close"
    if isinstance(error, ServiceUnavailable | Overloaded):
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s or 1)))
    status = _tei_kind(error)[0] if shape == "tei" else error.status
    body = msgspec.json.encode(SHAPES[shape](error, request_id))
    return Answer(status, body, headers=headers)


def native_error(error: SkerryError, request_id: str) -> ErrorAnswer:
    """The error in the node's own shape."""
    return ErrorAnswer(error_body(error, request_id))


def openai_error(error: SkerryError, request_id: str) -> OpenAIErrorAnswer:
    """The error in the shape the official `openai` client reads."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    return OpenAIErrorAnswer(
        OpenAIErrorBody(
            message=clean(error.message),
            type=OPENAI_TYPES.get(error.status, kind),
            param=clean(error.field) if isinstance(error, FieldRefused) else None,
            code=error.code,
            remedy=clean(error.remedy),
            request_id=request_id,
        )
    )


def tei_error(error: SkerryError, request_id: str) -> TeiErrorAnswer:
    """The error in the shape of text-embeddings-inference's `ErrorResponse`."""
    kind = _tei_kind(error)[1]
    return TeiErrorAnswer(clean(error.message), kind, error.code, clean(error.remedy), request_id)


def _tei_kind(error: SkerryError) -> tuple[int, str]:
    """Status and `error_type`, as `router/src/http/server.rs` of that project pairs them."""
    if isinstance(error, ContextLengthExceeded | PayloadTooLarge):
        return 413, "Validation"
    if isinstance(error, Overloaded | DeadlineExceeded):
        return 429, "Overloaded"
    if isinstance(error, WrongTask):
        return 424, "Backend"
    if error.status == 400:
        return 422, "Validation"
    if error.status == 503:
        return 503, "Unhealthy"
    return error.status, "Backend" if error.status >= 500 else "Validation"


SHAPES: dict[Dialect, Callable[[SkerryError, str], msgspec.Struct]] = {
    "native": native_error,
    "openai": openai_error,
    "tei": tei_error,
}


def internal_error() -> SkerryError:
    """What a client sees of a bug; the log has the rest under the same request id."""
    return SkerryError(
        "The node failed on this request.",
        remedy="This is a bug: please report it with the request id and the node's log.",
    )


def clean(text: Any) -> str:
    """Lone surrogates cannot be encoded: replace them."""
    return str(text).encode("utf-8", "replace").decode("utf-8")
