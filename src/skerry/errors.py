"""Each error a user can meet: its code, HTTP status, exit code and remedy."""

from __future__ import annotations


class SkerryError(Exception):
    """Base of all errors shown to a user; `message` says what happened, `remedy` what to do.

    Subclasses fix `code` (stable, part of the wire contract), `status` (HTTP) and `exit_code`
    (command line: 1 failed, 2 wrong use, 3 node not reachable).
    """

    code = "internal"
    status = 500
    exit_code = 1
    default_remedy = ""

    def __init__(
        self, message: str, *, remedy: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = self.default_remedy if remedy is None else remedy
        self.retry_after_s = retry_after_s


class BadRequest(SkerryError):
    """The request is malformed or a value is out of range."""

    code, status = "bad_request", 400


class FieldRefused(BadRequest):
    """A field of the request whose value cannot be used, or that is not supported here."""

    code = "field_refused"

    def __init__(self, message: str, *, field: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.field = field


class UnknownField(BadRequest):
    """A query parameter or a JSON field that this path does not know."""

    code = "unknown_field"


class ImageUnreadable(BadRequest):
    """The bytes are not an image this node can decode."""

    code = "image_unreadable"
    default_remedy = "Send a JPEG, PNG, WebP, GIF, BMP or TIFF image."


class WrongTask(BadRequest):
    """The model named does something else than what was asked of it."""

    code = "wrong_task"


class ContextLengthExceeded(BadRequest):
    """A text, or a prompt and the answer asked for, is longer than the model's window."""

    code = "context_length_exceeded"


class Unauthorized(SkerryError):
    """No key, or one that is unknown, revoked or expired."""

    code, status = "unauthorized", 401
    default_remedy = "Send 'Authorization: Bearer KEY'; 'skerry keys create' makes one."


class Forbidden(SkerryError):
    """The key's scope, the Host or the Origin does not allow this."""

    code, status = "forbidden", 403


class NotFound(SkerryError):
    """Nothing stands under this id, name or path."""

    code, status = "not_found", 404


class DocumentNotFound(NotFound):
    """No stored document has this id."""

    code = "document_not_found"
    default_remedy = "List what is stored with GET /api/documents."


class ImageNotFound(NotFound):
    """No stored image has this id or sha256."""

    code = "image_not_found"
    default_remedy = "List what is stored with GET /api/images."


class ModelNotFound(NotFound):
    """No model of this name is in the catalogue or the models folder."""

    code = "model_not_found"
    default_remedy = "See 'skerry models list'; add your own with 'skerry models add'."


class MethodNotAllowed(SkerryError):
    """The path exists but not with this method."""

    code, status = "method_not_allowed", 405


class Conflict(SkerryError):
    """The request contradicts what is stored."""

    code, status = "conflict", 409


class SpaceMismatch(Conflict):
    """Vectors of this model cannot be compared with those in the index."""

    code = "space_mismatch"


class PayloadTooLarge(SkerryError):
    """The body, or the image's pixels, pass the configured bound."""

    code, status = "payload_too_large", 413


class UnsupportedMediaType(SkerryError):
    """The body has a form this path does not read."""

    code, status = "unsupported_media_type", 415


class RangeNotSatisfiable(BadRequest):
    """The bytes asked for with `Range` do not exist; the file has `size`."""

    code, status = "range_not_satisfiable", 416

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.size = size


class Unprocessable(SkerryError):
    """Well-formed, but refused by the model or the schema."""

    code, status = "unprocessable", 422


class TaskOff(Unprocessable):
    """The settings give this node no model for the task, and the request names none."""

    code = "task_off"
    default_remedy = "Set one in the [models] table of skerry.toml and start the node again."


class DocumentUnreadable(Unprocessable):
    """The file holds no text that this node can read."""

    code = "document_unreadable"
    default_remedy = "Open it in the program that made it and save it as PDF, .docx or plain text."


class ModelInvalid(Unprocessable):
    """A model file that cannot be used as asked."""

    code = "model_invalid"


class PickleRefused(ModelInvalid):
    """A pickle that asks for more than tensors."""

    code = "pickle_refused"


class ChecksumMismatch(SkerryError):
    """The bytes that arrived are not the bytes the catalogue names."""

    code, status = "checksum_mismatch", 502
    default_remedy = "Nothing was installed. Pull again; if it repeats, the source has changed."


class SourceUnreachable(SkerryError):
    """A model's source could not be reached or gave no such file."""

    code, status = "source_unreachable", 502


class ServiceUnavailable(SkerryError):
    """A part of the node cannot answer now."""

    code, status = "unavailable", 503


class Overloaded(ServiceUnavailable):
    """The queue in front of an engine or a store is full."""

    code = "overloaded"
    default_remedy = "Wait for the time in Retry-After and send the request again."


class DeadlineExceeded(ServiceUnavailable):
    """The work did not start or end within the request's deadline."""

    code = "deadline_exceeded"
    default_remedy = "Retry later, or raise limits.deadline_s."


class ModelUnavailable(ServiceUnavailable):
    """The model is known but missing, corrupt or still loading."""

    code = "model_unavailable"


class MemoryLimitReached(ServiceUnavailable):
    """Loading the model would pass the memory limit, and nothing idle is left to unload."""

    code = "memory_limit"
    default_remedy = "Raise models.memory_limit_bytes, or use a smaller model."


class IndexUnavailable(ServiceUnavailable):
    """The vector index is restarting or behind the log."""

    code = "index_unavailable"
    default_remedy = "It catches up by itself; see /readyz for its progress."


class StoreUnavailable(ServiceUnavailable):
    """The database, blob store or key-value store cannot be used now."""

    code = "store_unavailable"


class StorageFull(SkerryError):
    """No space is left on the device that holds the data."""

    code, status = "storage_full", 507
    default_remedy = "Free space on the data folder's disk; nothing was stored by this request."


class ConfigError(SkerryError):
    """A setting, flag or environment variable that cannot be used."""

    code, status, exit_code = "config_invalid", 400, 2


class NodeUnreachable(SkerryError):
    """No node answers at the URL."""

    code, status, exit_code = "node_unreachable", 503, 3
    default_remedy = "Start one with 'skerry up', or name its address with --url."
