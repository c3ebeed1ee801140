"""A document as it came in a request, before it is its turn to be read and stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from skerry.api.faults import clean
from skerry.api.native.document_wire import DocumentJson
from skerry.api.native.times import unix_seconds
from skerry.errors import SkerryError
from skerry.pipelines.documents.chunking import Source
from skerry.sql.document_rows import MAX_ID_CHARS, NewDocument, check_document

NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A document that was read, or why it cannot be; `id` as far as it is known."""

    id: str
    outcome: Source | SkerryError
    notes: tuple[str, ...] = ()


class Given(Protocol):
    """A document as it came; reading it is left until it is its turn."""

    async def load(self) -> Loaded:
        """Read and check it; what it is refused for is part of the answer, not raised."""


@dataclass(frozen=True, slots=True)
class GivenDocuments:
    """The documents of one request, in their order."""

    documents: Sequence[Given]
    is_list: bool
    """Whether each has a result of its own even when it is alone and fails."""
    fingerprint: str
    """Equal for equal requests."""


def loaded(
    given: DocumentJson, *, pages: tuple[int, ...] = (), notes: tuple[str, ...] = ()
) -> Loaded:
    """The document, once it has been checked; `pages` are the offsets at which its pages begin."""
    try:
        document = NewDocument(
            id=given.id,
            text=given.text,
            title=given.title or None,
            category=given.category,
            timestamp=unix_seconds(given.timestamp, "timestamp", without_zone_is_utc=True),
            metadata=given.metadata or {},
        )
        check_document(document)
    except SkerryError as error:
        return Loaded(given.id, error, notes)
    return Loaded(given.id, Source(document, pages), notes)


def spelled_number(text: str) -> int | float | None:
    """The number that is written as JSON writes it: 007 and 1e5 are none."""
    if not NUMBER.fullmatch(text):
        return None
    return float(text) if "." in text else int(text)


def told_id(id: str) -> str:
    """An id as it stands in an answer: what could not be an id is cut."""
    return clean(id)[:MAX_ID_CHARS]
