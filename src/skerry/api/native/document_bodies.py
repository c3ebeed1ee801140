"""The body of `POST /api/documents`: one object, a list, lines, a table, or files."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import msgspec

from skerry.api.bodies import content_type, parse_json, read_body, read_form
from skerry.api.contract import Exchange
from skerry.api.faults import clean
from skerry.api.native.document_files import form_documents
from skerry.api.native.document_given import Given, GivenDocuments, Loaded, loaded
from skerry.api.native.document_tables import table_rows
from skerry.api.native.document_wire import DocumentJson
from skerry.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType

MAX_DOCUMENTS = 10_000
LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonl")
TABLE = "text/csv"
FORM = "multipart/form-data"
FORMS_REMEDY = (
    "Send a JSON object or a list of them, JSON lines as application/x-ndjson, a table as "
    "text/csv, or files as the multipart field 'file'."
)
BYTE = re.compile(r"\(byte (\d+)\)")
NOT_NUMBERS = re.compile(rb".?(NaN|Infinity)")
OUT_OF_RANGE = "Number out of range"
STRING_OR_NOT_A_NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*+"|-?(?:NaN|Infinity)', re.DOTALL)
BEYOND_RANGE = b"1e999"
T = TypeVar("T")


async def read_documents(exchange: Exchange) -> GivenDocuments:
    """The documents of a body of any form.

    Raises BadRequest for a body that is no such thing as a whole, UnsupportedMediaType, and
    PayloadTooLarge for more than MAX_DOCUMENTS.
    """
    kind = content_type(exchange)
    if kind == FORM:
        return form_documents(await read_form(exchange), exchange.node.documents)
    body = await read_body(exchange)
    is_list = True
    if kind in LINES:
        documents = _counted(_lines(body))
    elif kind == TABLE:
        documents = await asyncio.to_thread(_counted, table_rows(body))
    else:
        is_list = body.lstrip()[:1] == b"["
        documents = _counted(_of_json(body, kind, is_list=is_list))
    digest = hashlib.sha256(kind.encode() + b"\0" + body).hexdigest()
    return GivenDocuments(documents, is_list, digest)


def _counted(documents: Iterable[Given]) -> list[Given]:
    """All of them; none is made of what is beyond the bound."""
    found = list(islice(documents, MAX_DOCUMENTS + 1))
    if not found:
        raise BadRequest("The body holds no document.", remedy=FORMS_REMEDY)
    if len(found) > MAX_DOCUMENTS:
        raise PayloadTooLarge(
            f"The body holds more than {MAX_DOCUMENTS} documents; nothing of it was stored.",
            remedy=f"Send {MAX_DOCUMENTS} at a time.",
        )
    return found


class _JustId(msgspec.Struct):
    id: str = ""


@dataclass(frozen=True, slots=True)
class _Json:
    """A document in JSON; `where` is what its errors begin with."""

    raw: bytes | msgspec.Raw
    where: str = ""

    async def load(self) -> Loaded:
        try:
            given = _decoded(self.raw, DocumentJson)
        except BadRequest as error:
            error.message = self.where + error.message
            return Loaded(self._id(), error)
        return loaded(given)

    def _id(self) -> str:
        try:
            return msgspec.json.decode(self.raw, type=_JustId).id
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return ""


def _of_json(body: bytes, kind: str, *, is_list: bool) -> list[Given]:
    if not is_list and body.lstrip()[:1] != b"{" and kind != "application/json":
        raise UnsupportedMediaType(f"This path reads no '{clean(kind)[:80]}'.", remedy=FORMS_REMEDY)
    if not is_list:
        return [_Json(body)]
    # Only told apart here, so that one that does not fit is refused alone.
    try:
        parts = _decoded(body, list[msgspec.Raw])
    except BadRequest as error:
        if not error.remedy:
            raise
        parts = _decoded(_with_numbers(body), list[msgspec.Raw])
    return [_Json(part, f"Document {at}: ") for at, part in enumerate(parts, 1)]


def _with_numbers(body: bytes) -> bytes:
    """The body with what JSON does not count as numbers (NaN) written as one beyond all range.

    So the documents can be told apart, and only those that have it are refused.
    """
    return STRING_OR_NOT_A_NUMBER.sub(
        lambda found: found[0] if found[0].startswith(b'"') else BEYOND_RANGE, body
    )


def _decoded(data: bytes | msgspec.Raw, shape: type[T]) -> T:
    """As `parse_json`, which says where the JSON is broken; and what to do about NaN there."""
    try:
        return parse_json(data, shape)
    except BadRequest as error:
        at = BYTE.search(error.message)
        found = NOT_NUMBERS.match(data, max(0, int(at[1]) - 1)) if at else None
        if found:
            error.remedy = f"JSON has no {found[1].decode()}: leave the field out."
        elif OUT_OF_RANGE in error.message:
            error.remedy = "A number must be finite: leave the field out."
        raise


def _lines(body: bytes) -> Iterator[Given]:
    for at, line in enumerate(io.BytesIO(body.removeprefix(b"\xef\xbb\xbf")), 1):
        if not line.isspace():
            yield _Json(line, f"Line {at}: ")
