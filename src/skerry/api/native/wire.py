"""The native JSON shapes, names exactly as the contract has them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from skerry.api.faults import ErrorBody
from skerry.sql.images import ImageRow, Label

TagValue = str | int | float | bool
Tags = dict[str, TagValue]
Page = Annotated[int, Meta(ge=1, le=1000)]


class RecognizeQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Query of `POST /api/recognize`."""

    limit: Annotated[int, Meta(ge=0, le=100)] = 10
    labels: Annotated[int, Meta(ge=0, le=100)] = 5
    features: bool = True
    model: str | None = None


class SimilarImageJson(msgspec.Struct):
    """A stored image like the one asked for."""

    id: int
    filename: str
    uploaded_by: str
    created_at: int
    similarity_score: float


class SuggestedTagJson(msgspec.Struct):
    """A tag the nearest stored images carry."""

    name: str
    value: TagValue
    confidence: float
    votes: int


class ModelUsed(msgspec.Struct):
    """Which model answered, in which precision."""

    name: str
    precision: str
    fingerprint: str
    engine: str
    device: str


class RecognizeAnswer(msgspec.Struct, kw_only=True):
    """Answer of `POST /api/recognize`."""

    labels: list[Label]
    similar_images: list[SimilarImageJson]
    suggested_tags: list[SuggestedTagJson]
    feature_vector: list[float] | UnsetType = UNSET
    total_time_ms: float
    inference_time_ms: float
    search_time_ms: float
    metadata_time_ms: float
    cache: Literal["hit", "miss", "shared", "off", "unavailable"]
    model: ModelUsed
    request_id: str


class RawImageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Query of `POST /api/images` with a raw body."""

    filename: str = ""
    uploaded_by: str = ""


class ImageJson(msgspec.Struct):
    """A stored image."""

    id: int
    sha256: str
    filename: str
    media_type: str
    width: int
    height: int
    bytes: int
    uploaded_by: str
    created_at: int
    tags: Tags
    labels: list[Label]


class UploadResult(msgspec.Struct):
    """One file of an upload: stored, there before, or refused with the reason."""

    status: Literal["created", "exists", "failed"]
    filename: str
    id: int | UnsetType = UNSET
    sha256: str | UnsetType = UNSET
    media_type: str | UnsetType = UNSET
    width: int | UnsetType = UNSET
    height: int | UnsetType = UNSET
    bytes: int | UnsetType = UNSET
    uploaded_by: str | UnsetType = UNSET
    created_at: int | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    labels: list[Label] | UnsetType = UNSET
    error: ErrorBody | UnsetType = UNSET


class UploadAnswer(msgspec.Struct):
    """Answer of `POST /api/images`, one result a file in their order."""

    images: list[UploadResult]


class ImagesQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Filters and paging of `GET /api/images`; `tag.NAME=value` filters by tag."""

    uploaded_by: str | None = None
    label: str | None = None
    created_after: str | None = None
    created_before: str | None = None
    limit: Page = 50
    cursor: str | None = None
    tags: dict[str, str] = {}


class ImagesAnswer(msgspec.Struct):
    """A page of images, newest first; `next` is the cursor of the following page."""

    images: list[ImageJson]
    next: str | None
    total: int


class ImagePatch(msgspec.Struct, forbid_unknown_fields=True):
    """What `PATCH /api/images/{id}` changes; `tags` replaces them all."""

    filename: str | None = None
    uploaded_by: str | None = None
    tags: Tags | None = None


class ThumbnailQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Longest side of the thumbnail, pixels."""

    size: Annotated[int, Meta(ge=16, le=1024)] = 256


class CreatedRange(msgspec.Struct, forbid_unknown_fields=True):
    """Bounds on `created_at`: Unix seconds or RFC 3339."""

    gt: int | str | None = None
    gte: int | str | None = None
    lt: int | str | None = None
    lte: int | str | None = None


class SearchFilter(msgspec.Struct, forbid_unknown_fields=True):
    """All conditions that are given must hold."""

    uploaded_by: str | None = None
    label: str | None = None
    tags: Tags = {}
    created_at: CreatedRange | None = None


class SearchRequest(msgspec.Struct, forbid_unknown_fields=True):
    """JSON body of `POST /api/images/search`: like a stored image."""

    id: int | str
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    filter: SearchFilter | None = None


class SearchAnswer(msgspec.Struct):
    """Answer of `POST /api/images/search`."""

    similar_images: list[SimilarImageJson]
    search_time_ms: float
    metadata_time_ms: float
    request_id: str


def image_json(row: ImageRow) -> ImageJson:
    """The wire form of a row."""
    return ImageJson(
        id=row.id,
        sha256=row.sha256,
        filename=row.filename,
        media_type=row.media_type,
        width=row.width,
        height=row.height,
        bytes=row.bytes,
        uploaded_by=row.uploaded_by,
        created_at=row.created_at,
        tags=row.tags,
        labels=list(row.labels),
    )
