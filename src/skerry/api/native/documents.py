"""`/api/documents`: store, list, read and delete documents."""

from __future__ import annotations

from skerry.api.bodies import read_json
from skerry.api.contract import Answer, Exchange, Route, json_answer
from skerry.api.native.document_adding import Adding, Outcome, is_of_the_node
from skerry.api.native.document_bodies import read_documents
from skerry.api.native.document_given import GivenDocuments, spelled_number
from skerry.api.native.document_wire import (
    DeleteAnswer,
    DeleteRequest,
    DocumentAnswer,
    DocumentJson,
    DocumentQuery,
    DocumentsAdded,
    DocumentsAnswer,
    DocumentsQuery,
    document_json,
    listed_json,
)
from skerry.api.native.idempotency import once
from skerry.api.native.times import unix_seconds
from skerry.errors import BadRequest, FieldRefused, SkerryError
from skerry.filter_json import filter_of
from skerry.filters import METADATA, Condition, Filter, Range, all_of, measure
from skerry.index.chunks import chunk_filter
from skerry.sql.document_rows import Stored


async def add_documents(exchange: Exchange) -> Answer:
    """Store one or many documents."""
    exchange.timed = True
    given = await read_documents(exchange)
    return await once(
        exchange,
        request=lambda: given.fingerprint,
        work=lambda: _store(exchange, given),
    )


async def list_documents(exchange: Exchange) -> Answer:
    """A page of documents, the last added first."""
    query: DocumentsQuery = exchange.query
    page = await exchange.node.documents.page(
        _listed(query), cursor=query.cursor, limit=query.limit
    )
    rows = [listed_json(row) for row in page.rows]
    return json_answer(DocumentsAnswer(rows, page.next, page.total))


async def get_document(exchange: Exchange) -> Answer:
    """One document with its text."""
    query: DocumentQuery = exchange.query
    documents = exchange.node.documents
    row = await documents.get(exchange.path["id"])
    chunks = await documents.chunks(row.id) if query.chunks else None
    return json_answer(document_json(row, chunks))


async def delete_document(exchange: Exchange) -> Answer:
    """Delete text, chunks and vectors. A second delete finds nothing: 404."""
    await exchange.node.documents.remove(exchange.path["id"])
    return Answer(204)


async def delete_documents(exchange: Exchange) -> Answer:
    """Delete many documents by id or by filter."""
    wanted = await read_json(exchange, DeleteRequest)
    deleted = await exchange.node.documents.remove_matching(_doomed(wanted))
    return json_answer(DeleteAnswer(deleted))


async def _store(exchange: Exchange, given: GivenDocuments) -> Answer:
    """201, 200, 207 or the first error, as the contract has it."""
    adding = Adding(exchange, given.documents)
    outcomes = await adding.run()
    errors = [one for one in outcomes if isinstance(one, SkerryError)]
    if len(errors) == len(outcomes) and (not given.is_list or is_of_the_node(errors[0])):
        # Nothing was stored: the error of a lone document, or of the node, is the answer's own.
        raise errors[0]
    return json_answer(DocumentsAdded(adding.results()), status=_status(outcomes))


def _status(outcomes: list[Outcome]) -> int:
    stored = [one for one in outcomes if isinstance(one, Stored)]
    if not stored:
        return 400
    if len(stored) < len(outcomes):
        return 207
    return 201 if any(one.outcome == "created" for one in stored) else 200


def _doomed(wanted: DeleteRequest) -> Filter:
    if (wanted.ids is None) == (wanted.filter is None):
        raise BadRequest("Send either 'ids' or 'filter'.")
    if wanted.ids is not None:
        return Filter(must=(Condition("id", any=tuple(wanted.ids)),))
    given = filter_of(wanted.filter)
    if not measure(given).conditions:
        message = "An empty filter would delete every document."
        remedy = "Say which; to delete all, send the ids that GET /api/documents lists."
        raise FieldRefused(message, field="filter", remedy=remedy)
    return given


def _listed(query: DocumentsQuery) -> Filter | None:
    after, before = (
        unix_seconds(getattr(query, name), name, without_zone_is_utc=True)
        for name in ("timestamp_after", "timestamp_before")
    )
    if after is not None and before is not None and after > before:
        message = f"The dates are upside down: from {after} to {before}."
        raise FieldRefused(message, field="timestamp_after", remedy="Swap the two.")
    dated = chunk_filter(category=query.category, timestamp=Range(gte=after, lt=before))
    spelled = tuple(_spelled(METADATA + name, value) for name, value in query.metadata.items())
    return all_of(dated, Filter(must=spelled) if spelled else None)


def _spelled(key: str, text: str) -> Filter | Condition:
    """Finds the text, and the number or truth value it spells: query strings know only text."""
    same: list[Condition] = [Condition(key, value=text)]
    if text in ("true", "false"):
        same.append(Condition(key, value=text == "true"))
    number = spelled_number(text)
    if number is not None:
        same.append(Condition(key, range=Range(gte=number, lte=number)))
    return Filter(should=tuple(same)) if len(same) > 1 else same[0]


ROUTES = [
    Route("POST", "/api/documents", "write", add_documents,
          "Store one or many documents, or files.", body="documents", body_type=DocumentJson,
          answers=dict.fromkeys((200, 201, 207, 400), DocumentsAdded),
          errors=(404, 409, 413, 415, 422, 507)),
    Route("GET", "/api/documents", "read", list_documents,
          "List documents, the last added first.", query=DocumentsQuery,
          free_query="metadata.", free_field="metadata", answers={200: DocumentsAnswer}),
    Route("POST", "/api/documents/delete", "write", delete_documents,
          "Delete documents by id or by filter.", body="json", body_type=DeleteRequest,
          answers={200: DeleteAnswer}, errors=(507,)),
    Route("GET", "/api/documents/{id:path}", "read", get_document, "One document with its text.",
          query=DocumentQuery, answers={200: DocumentAnswer}, errors=(404,)),
    Route("DELETE", "/api/documents/{id:path}", "write", delete_document,
          "Delete a document with its chunks and vectors.", answers={204: None},
          errors=(404, 507)),
]  # fmt: skip
