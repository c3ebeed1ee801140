"""`/api/images`: store, list, change, delete and search images."""

from __future__ import annotations

import asyncio

from skerry.api.bodies import (
    FilePart,
    Form,
    content_type,
    parse_json,
    read_body,
    read_form,
    read_json,
    the_file,
)
from skerry.api.contract import Answer, Exchange, FileAnswer, Route, json_answer
from skerry.api.native.idempotency import once
from skerry.api.native.recognize import similar_json
from skerry.api.native.times import unix_seconds
from skerry.api.native.uploads import (
    check_names,
    check_tags,
    fingerprint,
    read_uploads,
    store_uploads,
)
from skerry.api.native.wire import (
    ImageJson,
    ImagePatch,
    ImagesAnswer,
    ImagesQuery,
    RawImageQuery,
    SearchAnswer,
    SearchFilter,
    SearchRequest,
    ThumbnailQuery,
    UploadAnswer,
    image_json,
)
from skerry.api.ranges import byte_range
from skerry.errors import BadRequest, UnknownField
from skerry.index.images import image_filter
from skerry.sql.images import ImageFilters
from skerry.vectors.base import Filter, Range

CACHEABLE = "private, max-age=31536000, immutable"


async def add_images(exchange: Exchange) -> Answer:
    """Store one or many images."""
    exchange.timed = True
    uploads = await read_uploads(exchange)
    return await once(
        exchange,
        request=lambda: fingerprint(uploads),
        work=lambda: store_uploads(exchange, uploads),
    )


async def list_images(exchange: Exchange) -> Answer:
    """A page of images, newest first."""
    query: ImagesQuery = exchange.query
    filters = ImageFilters(
        uploaded_by=query.uploaded_by,
        label=query.label,
        tags=query.tags,
        created_after=unix_seconds(query.created_after, "created_after"),
        created_before=unix_seconds(query.created_before, "created_before"),
    )
    page = await exchange.node.library.table.page(filters, cursor=query.cursor, limit=query.limit)
    return json_answer(ImagesAnswer([image_json(row) for row in page.rows], page.next, page.total))


async def get_image(exchange: Exchange) -> Answer:
    """One image's row."""
    return json_answer(image_json(exchange.node.library.get(exchange.path["id"])))


async def change_image(exchange: Exchange) -> Answer:
    """Change filename, uploaded_by or tags."""
    patch = await read_json(exchange, ImagePatch)
    check_tags(patch.tags)
    check_names(patch.filename or "", patch.uploaded_by or "")
    row = await exchange.node.library.change(
        exchange.path["id"],
        filename=patch.filename,
        uploaded_by=patch.uploaded_by,
        tags=patch.tags,
    )
    return json_answer(image_json(row))


async def delete_image(exchange: Exchange) -> Answer:
    """Delete row, vector and file. A second delete finds nothing: 404."""
    await exchange.node.library.remove(exchange.path["id"])
    return Answer(204)


async def image_file(exchange: Exchange) -> Answer | FileAnswer:
    """The original bytes."""
    row = exchange.node.library.get(exchange.path["id"])
    etag = f'"{row.sha256}"'
    headers = {"etag": etag, "cache-control": CACHEABLE, "accept-ranges": "bytes"}
    if _known(exchange, etag):
        return Answer(304, headers=headers)
    wanted = None
    if exchange.headers.get(b"if-range", etag.encode()) == etag.encode():
        header = exchange.headers.get(b"range", b"").decode("latin-1")
        wanted = byte_range(header, size=row.bytes)
    file = await asyncio.to_thread(exchange.node.library.open, str(row.id))
    if wanted is None:
        return FileAnswer(file, row.bytes, row.media_type, headers=headers)
    start, length = wanted
    headers["content-range"] = f"bytes {start}-{start + length - 1}/{row.bytes}"
    return FileAnswer(file, length, row.media_type, start=start, status=206, headers=headers)


async def image_thumbnail(exchange: Exchange) -> Answer:
    """A small JPEG for galleries."""
    query: ThumbnailQuery = exchange.query
    row = exchange.node.library.get(exchange.path["id"])
    etag = f'"{row.sha256[:32]}-{query.size}"'
    headers = {"etag": etag, "cache-control": CACHEABLE}
    if _known(exchange, etag):
        return Answer(304, headers=headers)
    data = await exchange.node.library.thumbnail(str(row.id), size=query.size)
    return Answer(200, data, media_type="image/jpeg", headers=headers)


async def search_images(exchange: Exchange) -> Answer:
    """Images like a stored one (JSON) or like an uploaded one (multipart or raw)."""
    exchange.timed = True
    search = exchange.node.image_search
    kind = content_type(exchange)
    if kind == "multipart/form-data":
        part, limit, filters = _search_form(await read_form(exchange))
        found = await search.by_image(
            part.data, limit=limit, filter=filters,
            deadline=exchange.deadline, stages=exchange.stages,
        )  # fmt: skip
    else:
        body = await read_body(exchange)
        request = parse_json(body, SearchRequest)
        found = await search.by_reference(
            str(request.id), limit=request.limit, filter=to_filter(request.filter),
            deadline=exchange.deadline, stages=exchange.stages,
        )  # fmt: skip
    return json_answer(
        SearchAnswer(
            [similar_json(match) for match in found],
            exchange.stages.ms("search"),
            exchange.stages.ms("metadata"),
            exchange.request_id,
        )
    )


def _known(exchange: Exchange, etag: str) -> bool:
    given = exchange.headers.get(b"if-none-match", b"").decode("latin-1").split(",")
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in given)


def _search_form(form: Form) -> tuple[FilePart, int, Filter | None]:
    for name in form.fields:
        if name not in ("limit", "filter"):
            raise UnknownField(f"Unknown form field '{name[:80]}'.", remedy="limit, filter, file")
    limit = form.fields.get("limit", "10")
    if not limit.isdecimal() or not 1 <= int(limit[:6]) <= 100:
        raise BadRequest("'limit' must be a whole number from 1 to 100.")
    text = form.fields.get("filter")
    wanted = parse_json(text.encode("utf-8", "surrogatepass"), SearchFilter) if text else None
    return the_file(form), int(limit), to_filter(wanted)


def to_filter(wanted: SearchFilter | None) -> Filter | None:
    """The index's filter; None when nothing is asked."""
    if wanted is None:
        return None
    created = wanted.created_at
    bounds = None
    if created is not None:
        bounds = Range(
            gt=unix_seconds(created.gt, "gt"),
            gte=unix_seconds(created.gte, "gte"),
            lt=unix_seconds(created.lt, "lt"),
            lte=unix_seconds(created.lte, "lte"),
        )
    return image_filter(
        uploaded_by=wanted.uploaded_by, label=wanted.label, tags=wanted.tags, created_at=bounds
    )


IMAGE_ERRORS = (404,)
ROUTES = [
    Route("POST", "/api/images", "write", add_images, "Store one or many images.",
          query=RawImageQuery, body="images",
          answers={200: UploadAnswer, 201: UploadAnswer, 207: UploadAnswer},
          errors=(409, 413, 507)),
    Route("GET", "/api/images", "read", list_images, "List images, newest first.",
          query=ImagesQuery, free_query="tag.", answers={200: ImagesAnswer}),
    Route("POST", "/api/images/search", "infer", search_images,
          "Find stored images like a stored or an uploaded one.", body="images",
          body_type=SearchRequest, answers={200: SearchAnswer}, errors=(404, 409, 413)),
    Route("GET", "/api/images/{id}", "read", get_image, "One image.",
          answers={200: ImageJson}, errors=IMAGE_ERRORS),
    Route("PATCH", "/api/images/{id}", "write", change_image,
          "Change filename, uploaded_by or tags.", body="json", body_type=ImagePatch,
          answers={200: ImageJson}, errors=(404, 413, 507)),
    Route("DELETE", "/api/images/{id}", "write", delete_image,
          "Delete an image, its vector and its file.", answers={204: None}, errors=IMAGE_ERRORS),
    Route("GET", "/api/images/{id}/file", "read", image_file, "The original bytes.",
          answers={200: "image/*", 206: "image/*", 304: None}, errors=(404, 416)),
    Route("GET", "/api/images/{id}/thumbnail", "read", image_thumbnail,
          "A small JPEG of the image.", query=ThumbnailQuery,
          answers={200: "image/jpeg", 304: None}, errors=IMAGE_ERRORS),
]  # fmt: skip
