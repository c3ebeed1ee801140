"""Files in a request's form: a document a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import cast

import msgspec

from skerry.api.bodies import FilePart, Form, parse_json
from skerry.api.faults import clean
from skerry.api.native.document_given import GivenDocuments, Loaded, loaded
from skerry.api.native.document_wire import DocumentJson, Metadata
from skerry.errors import BadRequest, FieldRefused, SkerryError, UnknownField
from skerry.pipelines.documents.library import DocumentLibrary

FORM_FIELDS = ("id", "title", "category", "timestamp", "metadata")


def form_documents(form: Form, library: DocumentLibrary) -> GivenDocuments:
    """The files of a form, read when it is their turn; BadRequest names a field that is wrong."""
    for name in form.fields:
        if name not in FORM_FIELDS:
            known = ", ".join(("file", *FORM_FIELDS))
            raise UnknownField(f"Unknown form field '{name[:80]}'.", remedy=f"Known: {known}.")
    if not form.files:
        raise BadRequest("The form has no file.", remedy="Send files as the field 'file'.")
    for name in ("id", "title"):
        if form.fields.get(name) and len(form.files) > 1:
            message = f"'{name}' is of one file, and the form has {len(form.files)}."
            raise FieldRefused(message, field=name, remedy="Send that file alone.")
    fields = _fields(form)
    files = [_File(part, fields, library) for part in form.files]
    return GivenDocuments(files, len(files) > 1, _fingerprint(form))


@dataclass(frozen=True, slots=True)
class _File:
    """A file, and what the form says of each of its files."""

    part: FilePart
    fields: DocumentJson
    library: DocumentLibrary

    async def load(self) -> Loaded:
        fields = self.fields
        told = fields.id or clean(self.part.filename)
        try:
            read = await self.library.read(self.part.data, filename=self.part.filename)
        except SkerryError as error:
            return Loaded(told, error)
        title = fields.title or read.title
        given = msgspec.structs.replace(fields, id=told, text=read.text, title=title)
        return loaded(given, pages=read.pages, notes=read.notes)


def _fields(form: Form) -> DocumentJson:
    fields = form.fields
    told = fields.get("metadata") or "{}"
    metadata = parse_json(told.encode("utf-8", "surrogatepass"), cast("type[Metadata]", Metadata))
    return DocumentJson(
        id=fields.get("id", ""),
        text="",
        title=fields.get("title"),
        category=fields.get("category") or None,
        timestamp=fields.get("timestamp") or None,
        metadata=metadata,
    )


def _fingerprint(form: Form) -> str:
    told = {name: clean(value) for name, value in form.fields.items()}
    digest = hashlib.sha256(msgspec.json.encode(told, order="sorted"))
    for part in form.files:
        digest.update(msgspec.json.encode(clean(part.filename)))
        digest.update(hashlib.sha256(part.data).digest())
    return digest.hexdigest()
