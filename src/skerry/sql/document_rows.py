"""Documents and chunks as they go into the database and come out of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from skerry.errors import FieldRefused
from skerry.filters import INT64, METADATA_NAME
from skerry.sql.base import Row

Scalar = str | int | float | bool
Metadata = Mapping[str, Scalar | list[Scalar]]
Change = Literal["created", "updated", "fields_updated", "unchanged"]
Outcome = Literal["created", "updated", "fields_updated", "unchanged", "stale"]

MAX_ID_CHARS = 512
MAX_TITLE_CHARS = 2_000
MAX_CATEGORY_CHARS = 256
MAX_FIELDS = 64
MAX_VALUES = 1_024
MAX_VALUE_CHARS = 4_096


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document about to be stored; `timestamp` in Unix seconds is its own, not ours."""

    id: str
    text: str
    title: str | None = None
    category: str | None = None
    timestamp: int | None = None
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewChunk:
    """`text[start:end]` of a document with its keyword terms and its vector, float32 (d,)."""

    start: int
    end: int
    terms: Sequence[str]
    embedding: NDArray[np.float32]
    page: int | None = None
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Addition:
    """A document with its chunks; without them (None) only its other fields are to be stored."""

    document: NewDocument
    chunks: Sequence[NewChunk] | None


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of an addition, and how many chunks the document has now.

    `fields_updated`: category, timestamp or metadata, while the chunks stay as they are.
    `stale`: nothing was stored, because the text has changed meanwhile and no chunks came along.
    """

    id: str
    outcome: Outcome
    chunks: int


class DocumentSummary(msgspec.Struct, frozen=True):
    """A stored document without its text; times are Unix seconds."""

    key: int
    id: str
    title: str | None
    category: str | None
    timestamp: int | None
    metadata: dict[str, Scalar | list[Scalar]]
    created_at: int
    updated_at: int
    chunks: int
    characters: int


class DocumentRow(DocumentSummary, frozen=True):
    """A stored document."""

    text: str


class ChunkRow(msgspec.Struct, frozen=True):
    """A chunk: the characters from `start` to `end` of its document's text; pages count from 1."""

    id: int
    position: int
    start: int
    end: int
    page: int | None
    heading: str
    text: str


class FoundChunk(ChunkRow, frozen=True):
    """A chunk with the fields of its document."""

    document: str
    title: str | None
    category: str | None
    timestamp: int | None
    metadata: dict[str, Scalar | list[Scalar]]

    def between(self, start: int, end: int) -> str:
        """What stands there, by offsets into the document's text, within this chunk."""
        return self.text[start - self.start : end - self.start]


class Facet(msgspec.Struct, frozen=True):
    """A value of a field, and how many documents have it."""

    value: Scalar
    count: int


def check_document(new: NewDocument) -> None:
    """FieldRefused, naming the field, for a document that cannot be stored."""
    _check_text("id", new.id, max_chars=MAX_ID_CHARS)
    _check_text("title", new.title or "-", max_chars=MAX_TITLE_CHARS)
    _check_text("category", "-" if new.category is None else new.category,
                max_chars=MAX_CATEGORY_CHARS)  # fmt: skip
    if new.timestamp is not None and not (type(new.timestamp) is int and new.timestamp in INT64):
        raise FieldRefused("'timestamp' must be a whole number of seconds.", field="timestamp")
    if not new.text.strip():
        raise FieldRefused("The document has no text.", field="text")
    if not _is_encodable(new.text):
        raise FieldRefused("'text' contains half of a surrogate pair.", field="text")
    _check_metadata(new.metadata)


def content_hash(new: NewDocument) -> bytes:
    """Hash of what is embedded: another title or text needs other chunks."""
    head = b"\0" if new.title is None else b"\1" + new.title.encode()
    return sha256(len(head).to_bytes(8, "little") + head + new.text.encode()).digest()


def encode_metadata(metadata: Metadata) -> str:
    """As JSON that is equal for equal metadata."""
    return msgspec.json.encode(metadata, order="deterministic").decode()


def decode_metadata(text: str) -> dict[str, Scalar | list[Scalar]]:
    """The inverse of `encode_metadata`."""
    return _METADATA.decode(text) if text != "{}" else {}


def document_summary(row: Row) -> DocumentSummary:
    """From `SUMMARY`."""
    values: list[Any] = [*row[:5], decode_metadata(row[5]), *row[6:]]
    return DocumentSummary(*values)


def document_row(row: Row) -> DocumentRow:
    """From `SUMMARY` and the text."""
    values: list[Any] = [*row[:5], decode_metadata(row[5]), *row[6:]]
    return DocumentRow(*values)


def found_chunk(row: Row) -> FoundChunk:
    """From `CHUNK` and the columns of `FIELDS`."""
    values: list[Any] = [*row[:-1], decode_metadata(row[-1])]
    return FoundChunk(*values)


SUMMARY = (
    "documents.key, documents.id, title, category, timestamp, metadata, created_at, updated_at, "
    "chunk_count, characters"
)
CHUNK = "chunks.id, position, start, stop, page, heading, chunks.text"
FIELDS = "documents.id, title, category, timestamp, metadata"

_METADATA = msgspec.json.Decoder(
    dict[str, str | int | float | bool | list[str | int | float | bool]]
)


def _check_text(name: str, text: str, *, max_chars: int) -> None:
    if not text:
        raise FieldRefused(f"'{name}' is empty.", field=name)
    if len(text) > max_chars:
        raise FieldRefused(f"'{name}' has more than {max_chars} characters.", field=name)
    if not _is_encodable(text):
        raise FieldRefused(f"'{name}' contains half of a surrogate pair.", field=name)
    if "\0" in text:
        raise FieldRefused(f"'{name}' contains a NUL character.", field=name)


def _check_metadata(metadata: Metadata) -> None:
    if len(metadata) > MAX_FIELDS:
        raise FieldRefused(f"'metadata' has more than {MAX_FIELDS} fields.", field="metadata")
    total = 0
    for name, value in metadata.items():
        if not METADATA_NAME.fullmatch(name) or not _is_encodable(name):
            message = f"'{name[:80]}' cannot name a field of 'metadata'."
            remedy = "Up to 128 characters, without quotes, backslashes and control characters."
            raise FieldRefused(message, field="metadata", remedy=remedy)
        values = value if isinstance(value, list) else [value]
        total += len(values)
        for one in values:
            _check_value(f"metadata.{name}", one)
    if total > MAX_VALUES:
        raise FieldRefused(f"'metadata' has more than {MAX_VALUES} values.", field="metadata")


def _check_value(name: str, value: object) -> None:
    match value:
        case bool():
            pass
        case str():
            _check_text(name, value or "-", max_chars=MAX_VALUE_CHARS)
        case int() if value not in INT64:
            message = f"'{name}' is a whole number of more than 64 bits."
            raise FieldRefused(message, field=name)
        case float() if not math.isfinite(value):
            raise FieldRefused(f"'{name}' is not a finite number.", field=name)
        case int() | float():
            pass
        case _:
            message = f"'{name}' must be a text, a number, true, false, or a list of these."
            raise FieldRefused(message, field=name)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
