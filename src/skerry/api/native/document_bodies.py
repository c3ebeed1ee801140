"""The body of `POST /api/documents`: one object, a list, lines, a table, or files."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

import msgspec

from skerry.api.bodies import FilePart, Form, content_type, parse_json, read_body, read_form
from skerry.api.contract import Exchange
from skerry.api.faults import clean
from skerry.api.native.document_wire import DocumentJson, Metadata, Moment
from skerry.api.native.times import unix_seconds
from skerry.errors import (
    BadRequest,
    FieldRefused,
    PayloadTooLarge,
    SkerryError,
    UnknownField,
    UnsupportedMediaType,
)
from skerry.pipelines.chunking import Source
from skerry.pipelines.documents import DocumentLibrary
from skerry.sql.document_rows import MAX_ID_CHARS, NewDocument, Scalar, check_document

MAX_DOCUMENTS = 10_000
LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonl")
TABLE = "text/csv"
FORM = "multipart/form-data"
COLUMNS = ("id", "text", "title", "category", "timestamp")
FORM_FIELDS = ("id", "title", "category", "timestamp", "metadata")
FORMS_REMEDY = (
    "Send a JSON object or a list of them, JSON lines as application/x-ndjson, a table as "
    "text/csv, or files as the multipart field 'file'."
)
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?")
TRUTHS = {"true": True, "false": False}
T = TypeVar("T")


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


async def read_documents(exchange: Exchange) -> GivenDocuments:
    """The documents of a body of any form.

    Raises BadRequest for a body that is no such thing as a whole, UnsupportedMediaType, and
    PayloadTooLarge for more than MAX_DOCUMENTS.
    """
    kind = content_type(exchange)
    if kind == FORM:
        return _of_form(await read_form(exchange), exchange.node.documents)
    body = await read_body(exchange)
    is_list = True
    documents: Sequence[Given]
    if kind in LINES:
        documents = [_Json(line, f"Line {at}: ") for at, line in _lines(body)]
    elif kind == TABLE:
        documents = await asyncio.to_thread(_table, body)
    else:
        is_list = body.lstrip()[:1] == b"["
        documents = _of_json(body, kind, is_list=is_list)
    digest = hashlib.sha256(kind.encode() + b"\0" + body).hexdigest()
    return GivenDocuments(_counted(documents), is_list, digest)


def _counted(documents: Sequence[T]) -> Sequence[T]:
    if not documents:
        raise BadRequest("The body holds no document.", remedy=FORMS_REMEDY)
    if len(documents) > MAX_DOCUMENTS:
        raise PayloadTooLarge(
            f"The body holds {len(documents)} documents; one call takes {MAX_DOCUMENTS}.",
            remedy=f"Send {MAX_DOCUMENTS} at a time. Nothing of this call was stored.",
        )
    return documents


def _checked(document: NewDocument, pages: tuple[int, ...] = ()) -> Source:
    check_document(document)
    return Source(document, pages)


# ---- JSON


class _JustId(msgspec.Struct):
    id: str = ""


@dataclass(frozen=True, slots=True)
class _Json:
    """A document in JSON; `where` is what its errors begin with."""

    raw: bytes | msgspec.Raw
    where: str = ""

    async def load(self) -> Loaded:
        try:
            given = parse_json(self.raw, DocumentJson)
        except BadRequest as error:
            error.message = self.where + error.message
            return Loaded(self._id(), error)
        return _loaded(given)

    def _id(self) -> str:
        try:
            return msgspec.json.decode(self.raw, type=_JustId).id
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return ""


def _of_json(body: bytes, kind: str, *, is_list: bool) -> list[Given]:
    if not is_list and body.lstrip()[:1] != b"{" and kind != "application/json":
        raise UnsupportedMediaType(f"This path reads no '{clean(kind)[:80]}'.", remedy=FORMS_REMEDY)
    try:
        if not is_list:
            parse_json(body, msgspec.Raw)
            return [_Json(body)]
        # Only told apart here, so that one that does not fit is refused alone.
        parts = parse_json(body, list[msgspec.Raw])
    except BadRequest as error:
        if not_numbers := re.search(rb"NaN|-?Infinity", body):
            name = not_numbers[0].decode()
            error.remedy = f"JSON has no {name}: leave the field out."
        raise
    return [_Json(part, f"Document {at}: ") for at, part in enumerate(parts, 1)]


def _lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    for at, line in enumerate(body.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if line and not line.isspace():
            yield at, line


def _loaded(given: DocumentJson) -> Loaded:
    try:
        document = NewDocument(
            id=given.id,
            text=given.text,
            title=given.title or None,
            category=given.category,
            timestamp=unix_seconds(given.timestamp, "timestamp", without_zone_is_utc=True),
            metadata=given.metadata or {},
        )
        return Loaded(given.id, _checked(document))
    except SkerryError as error:
        return Loaded(given.id, error)


# ---- tables


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a table; `columns` and `cells` are of one length, unless the row is broken."""

    columns: Sequence[str]
    cells: Sequence[str]
    line: int

    async def load(self) -> Loaded:
        fields = dict(zip(self.columns, self.cells, strict=False))
        told = fields.get("id", "")
        if len(self.cells) != len(self.columns):
            count = f"{len(self.cells)} values under {len(self.columns)} columns"
            return Loaded(told, BadRequest(f"Line {self.line}: {count}."))
        own = {name: _cell(fields[name]) for name in self.columns
               if name not in COLUMNS and fields[name]}  # fmt: skip
        given = DocumentJson(
            id=told,
            text=fields.get("text", ""),
            title=fields.get("title"),
            category=fields.get("category") or None,
            timestamp=fields.get("timestamp") or None,
            metadata=cast("Metadata", own),
        )
        return _loaded(given)


def _table(body: bytes) -> list[Given]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"The table is not UTF-8: byte {error.start} does not fit."
        raise BadRequest(message, remedy="Save it as UTF-8.") from None
    # Python's own bound is 128 KB a cell; the body is bounded already.
    csv.field_size_limit(min(sys.maxsize, (1 << 31) - 1))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = next(reader, [])
        _check_columns(columns)
        return [_Row(columns, cells, reader.line_num) for cells in reader if cells]
    except csv.Error as error:
        raise BadRequest(f"Line {reader.line_num} of the table is broken: {error}.") from None


def _check_columns(columns: Sequence[str]) -> None:
    for name in ("id", "text"):
        if name not in columns:
            told = ", ".join(columns)[:200] or "none"
            raise BadRequest(
                f"The table has no column '{name}'; its first line names {clean(told)}.",
                remedy="Name the columns in the first line: id,text,title,category,timestamp, "
                "and what else each document has.",
            )
    if len(set(columns)) < len(columns):
        raise BadRequest("The table names a column twice.")


def _cell(text: str) -> Scalar:
    """A cell that is written as a number or truth value in JSON is one: ranges find it."""
    number = spelled_number(text)
    return TRUTHS.get(text, text) if number is None else number


def spelled_number(text: str) -> int | float | None:
    """The number that is written as JSON writes it: 007 and 1e5 are none."""
    if not NUMBER.fullmatch(text):
        return None
    return float(text) if "." in text else int(text)


# ---- files


@dataclass(frozen=True, slots=True)
class _File:
    """A file and what the form says of it."""

    part: FilePart
    id: str
    title: str | None
    category: str | None
    timestamp: Moment | None
    metadata: Metadata
    library: DocumentLibrary

    async def load(self) -> Loaded:
        try:
            read = await self.library.read(self.part.data, filename=self.part.filename)
            document = NewDocument(
                id=self.id,
                text=read.text,
                title=self.title or read.title or None,
                category=self.category,
                timestamp=unix_seconds(self.timestamp, "timestamp", without_zone_is_utc=True),
                metadata=self.metadata,
            )
            return Loaded(self.id, _checked(document, read.pages), read.notes)
        except SkerryError as error:
            return Loaded(self.id, error)


def _of_form(form: Form, library: DocumentLibrary) -> GivenDocuments:
    for name in form.fields:
        if name not in FORM_FIELDS:
            known = ", ".join(("file", *FORM_FIELDS))
            raise UnknownField(f"Unknown form field '{name[:80]}'.", remedy=f"Known: {known}.")
    if not form.files:
        raise BadRequest("The form has no file.", remedy="Send files as the field 'file'.")
    _check_one(form)
    fields = form.fields
    told = fields.get("metadata") or "{}"
    metadata = parse_json(told.encode("utf-8", "surrogatepass"), cast("type[Metadata]", Metadata))
    files = [
        _File(
            part=part,
            id=fields.get("id") or clean(part.filename),
            title=fields.get("title"),
            category=fields.get("category") or None,
            timestamp=fields.get("timestamp") or None,
            metadata=metadata,
            library=library,
        )
        for part in form.files
    ]
    return GivenDocuments(files, len(files) > 1, _fingerprint(form))


def _check_one(form: Form) -> None:
    for name in ("id", "title"):
        if form.fields.get(name) and len(form.files) > 1:
            message = f"'{name}' is of one file, and the form has {len(form.files)}."
            raise FieldRefused(message, field=name, remedy="Send that file alone.")


def _fingerprint(form: Form) -> str:
    digest = hashlib.sha256(msgspec.json.encode(form.fields, order="sorted"))
    for part in form.files:
        digest.update(msgspec.json.encode(clean(part.filename)))
        digest.update(hashlib.sha256(part.data).digest())
    return digest.hexdigest()


def told_id(id: str) -> str:
    """An id as it stands in an answer: what could not be an id is cut."""
    return clean(id)[:MAX_ID_CHARS]
