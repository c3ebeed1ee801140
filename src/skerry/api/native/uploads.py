"""The body of `POST /api/images`: files and fields in, one result a file out."""

from __future__ import annotations

import asyncio
import hashlib
from typing import cast

import msgspec

from skerry.api.bodies import FilePart, content_type, parse_json, read_body, read_form
from skerry.api.contract import Answer, Exchange, json_answer
from skerry.api.faults import clean, error_body
from skerry.api.native.wire import RawImageQuery, Tags, UploadAnswer, UploadResult
from skerry.errors import BadRequest, SkerryError, UnknownField
from skerry.pipelines.images.library import Stored, Upload

MAX_NAME = 1024
MAX_TAGS = 64
MAX_TAG_TEXT = 256
AT_ONCE = 4  # files of one request worked on side by side; the rest of the queue is for others


def fingerprint(uploads: list[Upload]) -> str:
    """Equal for equal uploads, however their multipart bodies were written."""
    digest = hashlib.sha256()
    for upload in uploads:
        told = (upload.filename, upload.uploaded_by, upload.tags)
        digest.update(hashlib.sha256(upload.data).digest() + msgspec.json.encode(told))
    return digest.hexdigest()


async def store_uploads(exchange: Exchange, uploads: list[Upload]) -> Answer:
    """Store each; 201, 200, 207 or the first error, as the contract has it."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def store(upload: Upload) -> UploadResult | SkerryError:
        async with slots:
            # Each file has the time of a request: many files are not one slow one.
            exchange.restart_deadline()
            return await _store(exchange, upload)

    results = await asyncio.gather(*(store(upload) for upload in uploads))
    failures = [result for result in results if isinstance(result, SkerryError)]
    if len(failures) == len(results):
        # Nothing was stored: a lone file's error is the answer's own.
        if len(results) == 1 or failures[0].status >= 500:
            raise failures[0]
        return _answer(exchange, uploads, results, status=400)
    created = any(isinstance(r, UploadResult) and r.status == "created" for r in results)
    status = 207 if failures else 201 if created else 200
    return _answer(exchange, uploads, results, status=status)


def check_tags(tags: Tags | None) -> None:
    """Bound the number and length of tags, so that an index entry stays small."""
    if tags is None:
        return
    if len(tags) > MAX_TAGS:
        raise BadRequest(f"An image can carry {MAX_TAGS} tags; these are {len(tags)}.")
    for name, value in tags.items():
        if not name or len(name) > MAX_TAG_TEXT or len(str(value)) > MAX_TAG_TEXT:
            raise BadRequest(f"Tag names and values have 1 to {MAX_TAG_TEXT} characters.")


def check_names(filename: str, uploaded_by: str) -> None:
    """Bound what is kept of each image as text."""
    if len(filename) > MAX_NAME or len(uploaded_by) > MAX_NAME:
        raise BadRequest(f"filename and uploaded_by have at most {MAX_NAME} characters.")


def parse_tags(text: str) -> Tags:
    """Tags from a form field's JSON object."""
    tags = parse_json(text.encode("utf-8", "surrogatepass"), cast("type[Tags]", Tags))
    check_tags(tags)
    return tags


async def read_uploads(exchange: Exchange) -> list[Upload]:
    """The images of a multipart or raw body."""
    query: RawImageQuery = exchange.query
    if content_type(exchange) != "multipart/form-data":
        data = await read_body(exchange)
        if not data:
            raise BadRequest("The body is empty.", remedy="Send the bytes of an image.")
        part = FilePart(query.filename, data)
        return [_upload(part, uploaded_by=query.uploaded_by, tags={}, exchange=exchange)]
    form = await read_form(exchange)
    for name in form.fields:
        if name not in ("uploaded_by", "tags"):
            raise UnknownField(
                f"Unknown form field '{name[:80]}'.", remedy="Known: file, uploaded_by, tags."
            )
    if not form.files:
        raise BadRequest("The form has no file.", remedy="Send images as the field 'file'.")
    uploaded_by = form.fields.get("uploaded_by", query.uploaded_by)
    tags = parse_tags(form.fields["tags"]) if form.fields.get("tags") else {}
    return [_upload(p, uploaded_by=uploaded_by, tags=tags, exchange=exchange) for p in form.files]


def _upload(part: FilePart, *, uploaded_by: str, tags: Tags, exchange: Exchange) -> Upload:
    uploaded_by = uploaded_by or (exchange.key.name if exchange.key else "")
    check_names(part.filename, uploaded_by)
    return Upload(part.data, clean(part.filename), clean(uploaded_by), tags)


async def _store(exchange: Exchange, upload: Upload) -> UploadResult | SkerryError:
    try:
        if not upload.data:
            return BadRequest("The file is empty.")
        stored = await exchange.node.library.add(
            upload, deadline=exchange.deadline, stages=exchange.stages
        )
    except SkerryError as error:
        return error
    return _result(stored)


def _result(stored: Stored) -> UploadResult:
    row = stored.row
    return UploadResult(
        status="created" if stored.created else "exists",
        filename=row.filename,
        id=row.id,
        sha256=row.sha256,
        media_type=row.media_type,
        width=row.width,
        height=row.height,
        bytes=row.bytes,
        uploaded_by=row.uploaded_by,
        created_at=row.created_at,
        tags=row.tags,
        labels=list(row.labels),
    )


def _answer(
    exchange: Exchange,
    uploads: list[Upload],
    results: list[UploadResult | SkerryError],
    *,
    status: int,
) -> Answer:
    images = [
        result
        if isinstance(result, UploadResult)
        else UploadResult(
            status="failed",
            filename=upload.filename,
            error=error_body(result, exchange.request_id),
        )
        for upload, result in zip(uploads, results, strict=True)
    ]
    return json_answer(UploadAnswer(images), status=status)
