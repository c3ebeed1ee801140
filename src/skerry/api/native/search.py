"""`POST /api/search`: the chunks of documents that fit a question."""

from __future__ import annotations

from collections.abc import Sequence

from skerry.api.contract import Answer, Exchange, Route, json_answer
from skerry.api.native.document_wire import MAX_REACH, ResultJson, ResultsAnswer, SearchBody
from skerry.api.native.times import unix_seconds
from skerry.api.text_bodies import read_text_json
from skerry.errors import FieldRefused
from skerry.filter_json import filter_of
from skerry.filters import Filter, Range, all_of
from skerry.index.chunks import chunk_filter
from skerry.pipelines.documents.search import Hit, SearchOrder
from skerry.sql.document_rows import Facet


async def search(exchange: Exchange) -> Answer:
    """The best chunks, best first, and facets over the documents they come from."""
    exchange.timed = True
    order = order_of(await read_text_json(exchange, SearchBody))
    stages = exchange.stages
    found = await exchange.node.document_search.search(
        order, deadline=exchange.deadline, stages=stages
    )
    return json_answer(
        ResultsAnswer(
            results=[_result_json(hit) for hit in found.hits],
            facets={field: _counts(values) for field, values in found.facets.items()},
            total_time_ms=stages.total_ms(),
            embed_time_ms=stages.ms("tokenize", "queue", "inference"),
            search_time_ms=stages.ms("search", "keywords"),
            request_id=exchange.request_id,
        )
    )


def order_of(body: SearchBody) -> SearchOrder:
    """What is asked for; FieldRefused and UnknownField name what cannot be used."""
    if body.offset + body.limit > MAX_REACH:
        message = f"'offset' and 'limit' reach beyond the first {MAX_REACH} results."
        raise FieldRefused(message, field="offset", remedy="Narrow the search by a filter.")
    if not body.query.strip():
        raise FieldRefused("'query' holds no words.", field="query")
    return SearchOrder(
        query=body.query,
        mode=body.mode,
        limit=body.limit,
        offset=body.offset,
        filter=_filter(body),
        threshold=body.threshold,
        group=body.group,
        facets=tuple(dict.fromkeys(body.facets)),
    )


def _filter(body: SearchBody) -> Filter | None:
    least = unix_seconds(body.min_date, "min_date", without_zone_is_utc=True)
    given = None if body.filter is None else filter_of(body.filter)
    return all_of(given, chunk_filter(category=body.category, timestamp=Range(gte=least)))


def _counts(facets: Sequence[Facet]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for facet in facets:
        # As JSON writes it; a text and the number that it spells are told as one.
        is_truth = isinstance(facet.value, bool)
        name = str(facet.value).lower() if is_truth else str(facet.value)
        counts[name] = counts.get(name, 0) + facet.count
    return counts


def _result_json(hit: Hit) -> ResultJson:
    chunk = hit.chunk
    return ResultJson(
        id=chunk.document,
        chunk=chunk.id,
        score=hit.score,
        text=chunk.text,
        title=chunk.title,
        category=chunk.category,
        timestamp=chunk.timestamp,
        metadata=chunk.metadata,
        start=chunk.start,
        end=chunk.end,
        page=chunk.page,
        heading=chunk.heading,
        highlights=hit.highlights,
    )


ROUTES = [
    Route("POST", "/api/search", "infer", search,
          "Search documents by meaning, by words, or by both.",
          body="json", body_type=SearchBody, answers={200: ResultsAnswer}, errors=(404, 409, 422)),
]  # fmt: skip
