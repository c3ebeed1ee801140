"""A node's documents, and the search over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from skerry.client.answers import Failure
from skerry.client.transport import Transport, as_error

Scalar = str | int | float | bool
Metadata = Mapping[str, Scalar | Sequence[Scalar]]
Mode = Literal["hybrid", "dense", "keyword"]
PATH = "/api/documents"
PAGE = 1000
BATCH = 100
"""Documents of one request."""
BATCH_CHARACTERS = 1 << 20
"""About the most text of one request, unless one document alone has more."""
ADD_S = 600.0
"""Patience with an answer, whatever was sent."""
CHARACTERS_PER_S = 10_000
"""And as much more as a small, busy box needs: a text of 10 MB has some 18,000 chunks to embed."""


class Added(msgspec.Struct, omit_defaults=True):
    """What became of one document; `chunks` is how many it has now, `notes` what was guessed."""

    status: Literal["created", "updated", "unchanged", "failed"]
    id: str = ""
    chunks: int = 0
    notes: list[str] = []
    error: Failure | None = None


class Chunk(msgspec.Struct, omit_defaults=True):
    """The characters `start` to `end` of a document's text; pages count from 1."""

    id: int
    position: int
    start: int
    end: int
    text: str
    page: int | None = None
    heading: str = ""


class Document(msgspec.Struct, omit_defaults=True):
    """A stored document; lists leave out `text`, `chunks` is how many it has.

    `parts` are the chunks themselves, where they were asked for. Times are Unix seconds.
    """

    id: str
    created_at: int
    updated_at: int
    chunks: int
    characters: int
    title: str | None = None
    category: str | None = None
    timestamp: int | None = None
    metadata: dict[str, Scalar | list[Scalar]] = {}
    text: str = ""
    parts: list[Chunk] = []


class DocumentPage(msgspec.Struct):
    """Documents, the last added first; `next` is the cursor of the following page."""

    documents: list[Document]
    next: str | None = None
    total: int | None = None


class Result(msgspec.Struct, omit_defaults=True):
    """A chunk that was found; `highlights` are places in its `text`, [start, end)."""

    id: str
    chunk: int
    score: float
    text: str
    start: int
    end: int
    title: str | None = None
    category: str | None = None
    timestamp: int | None = None
    metadata: dict[str, Scalar | list[Scalar]] = {}
    page: int | None = None
    heading: str = ""
    highlights: list[tuple[int, int]] = []


class Results(msgspec.Struct):
    """Results in falling order of score; facets count documents by value of a field."""

    results: list[Result]
    facets: dict[str, dict[str, int]] = {}
    total_time_ms: float = 0.0
    embed_time_ms: float = 0.0
    search_time_ms: float = 0.0
    request_id: str = ""


class _AddAnswer(msgspec.Struct):
    documents: list[Added]


class _DeleteAnswer(msgspec.Struct):
    deleted: int


class Documents:
    """Stored documents."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def add(self, documents: Iterable[Mapping[str, Any]]) -> list[Added]:
        """Store documents `{id, text, title?, category?, timestamp?, metadata?}`, in batches.

        An answer a document, in their order; one that is refused has status `failed` and says
        why. A known id gets the new text; one that is stored already costs nothing. Raises what
        a whole batch fails with; those before it are stored.
        """
        return [one for batch in _batches(documents) for one in self._send(batch)]

    def _send(self, batch: Sequence[Mapping[str, Any]]) -> list[Added]:
        size = sum(len(str(document.get("text", ""))) for document in batch)
        response = self._transport.send(
            "POST", PATH, json=batch, timeout_s=_patience_s(size), results="documents"
        )
        return self._transport.decode(response, _AddAnswer).documents

    def add_file(
        self,
        data: bytes,
        filename: str,
        *,
        id: str | None = None,
        category: str | None = None,
        timestamp: int | str | None = None,
        metadata: Metadata | None = None,
    ) -> Added:
        """Store the text of a .txt, .md, .html, .pdf or .docx file; its id is the filename.

        Raises what the node refused it with (DocumentUnreadable, UnsupportedMediaType, ...).
        """
        fields = {"id": id, "category": category, "timestamp": timestamp}
        form = {name: str(value) for name, value in fields.items() if value is not None}
        if metadata:
            form["metadata"] = msgspec.json.encode(metadata).decode()
        # A name from a disk may hold bytes that are no UTF-8; HTTP cannot carry them.
        name = filename.encode("utf-8", "replace").decode()
        response = self._transport.send(
            "POST", PATH, form=form, files=[("file", (name, data))],
            timeout_s=_patience_s(len(data)),
        )  # fmt: skip
        added = self._transport.decode(response, _AddAnswer).documents[0]
        if added.error is not None:
            raise as_error(added.error)
        return added

    def list(self, *, limit: int = 50, cursor: str | None = None, **filters: Any) -> DocumentPage:
        """One page without texts, the last added first.

        Filters: `category`, `timestamp_after`, `timestamp_before`, `metadata={name: value}`.
        """
        query = {"limit": limit, "cursor": cursor, **filters}
        for name, value in (query.pop("metadata", None) or {}).items():
            query[f"metadata.{name}"] = value
        return self._transport.get(PATH, type=DocumentPage, query=query)

    def all(self, *, limit: int | None = None, **filters: Any) -> Iterator[Document]:
        """Every document that passes the filters of `list`, page by page, up to `limit`."""
        cursor, left = None, limit
        while left is None or left > 0:
            page = self.list(limit=PAGE if left is None else min(PAGE, left), cursor=cursor,
                             **filters)  # fmt: skip
            yield from page.documents
            left = None if left is None else left - len(page.documents)
            cursor = page.next
            if cursor is None:
                return

    def get(self, id: str, *, chunks: bool = False) -> Document:
        """One document with its text, and with its chunks as `parts` if asked for.

        DocumentNotFound when absent.
        """
        query = {"chunks": "true"} if chunks else {}
        return self._transport.get(_document_path(id), type=Document, query=query)

    def remove(self, id: str) -> None:
        """Delete one document; DocumentNotFound when absent."""
        self._transport.send("DELETE", _document_path(id))

    def remove_many(self, ids: Sequence[str]) -> int:
        """Delete documents by id; how many there were."""
        parts = (ids[start : start + PAGE] for start in range(0, len(ids), PAGE))
        return sum(self._remove({"ids": list(part)}) for part in parts)

    def remove_matching(self, filter: Mapping[str, Any]) -> int:
        """Delete the documents that pass the filter; how many there were."""
        return self._remove({"filter": filter})

    def _remove(self, body: Mapping[str, Any]) -> int:
        path = f"{PATH}/delete"
        response = self._transport.send("POST", path, json=body, timeout_s=ADD_S)
        return self._transport.decode(response, _DeleteAnswer).deleted


def _batches(documents: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    batch: list[Mapping[str, Any]] = []
    characters = 0
    for document in documents:
        size = len(str(document.get("text", "")))
        if batch and (len(batch) == BATCH or characters + size > BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(document)
        characters += size
    if batch:
        yield batch


def _patience_s(size: int) -> float:
    return ADD_S + size / CHARACTERS_PER_S


def _document_path(id: str) -> str:
    # Dots alone would be a step in a path.
    written = quote(id, safe="") if id.strip(".") else id.replace(".", "%2E")
    return f"{PATH}/{written}"
