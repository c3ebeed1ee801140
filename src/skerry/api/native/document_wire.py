"""The JSON shapes of documents and of the search over them, names exactly as the contract has."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from skerry.api.faults import ErrorBody
from skerry.api.native.wire import Page
from skerry.sql.document_rows import ChunkRow, DocumentRow, DocumentSummary, Scalar

MAX_IDS = 4_000
"""In one call to delete documents."""
MAX_REACH = 1000
"""How far down the results one can page."""
MAX_FACETS = 16
Metadata = dict[str, Scalar | list[Scalar]]
Moment = int | str
"""Unix seconds or RFC 3339; without a time zone it is UTC."""


class DocumentJson(msgspec.Struct, forbid_unknown_fields=True):
    """A document to be stored."""

    id: str
    text: str
    title: str | None = None
    category: str | None = None
    timestamp: Moment | None = None
    metadata: Metadata | None = None


Status = Literal["created", "updated", "unchanged", "failed"]


class DocumentResult(msgspec.Struct):
    """What became of a document; `chunks` is how many it has now, `notes` what was guessed."""

    id: str
    status: Status
    chunks: int | UnsetType = UNSET
    notes: list[str] | UnsetType = UNSET
    error: ErrorBody | UnsetType = UNSET


class DocumentsAdded(msgspec.Struct):
    """Answer of `POST /api/documents`, one result a document in their order."""

    documents: list[DocumentResult]


class DocumentsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Filters and paging of `GET /api/documents`; `metadata.NAME=value` filters by metadata.

    Dated at or after `timestamp_after`, and before `timestamp_before`.
    """

    category: str | None = None
    timestamp_after: str | None = None
    timestamp_before: str | None = None
    limit: Page = 50
    cursor: str | None = None
    metadata: dict[str, str] = {}


class DocumentQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Query of `GET /api/documents/{id}`: whether to list the chunks as `parts`."""

    chunks: bool = False


class DocumentListed(msgspec.Struct):
    """A stored document without its text; `chunks` and `characters` are counts."""

    id: str
    title: str | None
    category: str | None
    timestamp: int | None
    metadata: Metadata
    created_at: int
    updated_at: int
    chunks: int
    characters: int


class DocumentsAnswer(msgspec.Struct):
    """A page of documents, the last added first; `next` is the cursor of the following page."""

    documents: list[DocumentListed]
    next: str | None
    total: int


class ChunkJson(msgspec.Struct):
    """The characters (Unicode code points) `start` to `end` of the text; pages count from 1."""

    id: int
    position: int
    start: int
    end: int
    page: int | None
    heading: str
    text: str


class DocumentAnswer(DocumentListed):
    """A stored document; `parts` are its chunks, when they were asked for."""

    text: str
    parts: list[ChunkJson] | UnsetType = UNSET


class DeleteRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Which documents to delete: those of `ids`, or those that pass `filter`."""

    ids: Annotated[list[str], Meta(min_length=1, max_length=MAX_IDS)] | None = None
    filter: dict[str, Any] | None = None


class DeleteAnswer(msgspec.Struct):
    """How many documents there were."""

    deleted: int


class SearchBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/search`; `category` and `min_date` are short for a filter."""

    query: Annotated[str, Meta(min_length=1, max_length=10_000)]
    mode: Literal["hybrid", "dense", "keyword"] = "hybrid"
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    offset: Annotated[int, Meta(ge=0, le=MAX_REACH)] = 0
    filter: dict[str, Any] | None = None
    category: str | None = None
    min_date: Moment | None = None
    threshold: float | None = None
    """Results of a lower score are left out."""
    group: bool = False
    """Only the best chunk of each document."""
    facets: Annotated[tuple[str, ...], Meta(max_length=MAX_FACETS)] = ("category",)
    """Fields whose values are counted: `category`, `metadata.NAME`, or `metadata` for every name
    of few values among what was found."""


class ResultJson(msgspec.Struct):
    """A chunk that was found; `highlights` are places in its `text`, [start, end)."""

    id: str
    chunk: int
    score: float
    text: str
    title: str | None
    category: str | None
    timestamp: int | None
    metadata: Metadata
    start: int
    end: int
    page: int | None
    heading: str
    highlights: list[tuple[int, int]]


class ResultsAnswer(msgspec.Struct):
    """Answer of `POST /api/search`: chunks in falling order of score."""

    results: list[ResultJson]
    facets: dict[str, dict[str, int]]
    total_time_ms: float
    embed_time_ms: float
    search_time_ms: float
    request_id: str


def listed_json(row: DocumentSummary) -> DocumentListed:
    """The wire form of a row in a list."""
    return DocumentListed(
        id=row.id,
        title=row.title,
        category=row.category,
        timestamp=row.timestamp,
        metadata=row.metadata,
        created_at=row.created_at,
        updated_at=row.updated_at,
        chunks=row.chunks,
        characters=row.characters,
    )


def document_json(row: DocumentRow, chunks: list[ChunkRow] | None) -> DocumentAnswer:
    """The wire form of a row, with its chunks unless they are None."""
    listed = msgspec.structs.asdict(listed_json(row))
    parts = UNSET if chunks is None else [_chunk_json(chunk) for chunk in chunks]
    return DocumentAnswer(**listed, text=row.text, parts=parts)


def _chunk_json(row: ChunkRow) -> ChunkJson:
    return ChunkJson(
        id=row.id,
        position=row.position,
        start=row.start,
        end=row.end,
        page=row.page,
        heading=row.heading,
        text=row.text,
    )
