"""The calls made to a Qdrant server, and what its refusals mean."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from skerry.errors import ConfigError, IndexUnavailable, Overloaded, Unprocessable
from skerry.vectors.base import (
    CollectionSpec,
    CollectionStatus,
    Distance,
    FieldType,
    Filter,
    Float32,
    Match,
    Point,
)
from skerry.vectors.filters import engine_path
from skerry.vectors.qdrant_filters import to_server
from skerry.vectors.qdrant_record import Record, decode_record, encode_record

T = TypeVar("T")

VECTOR = "vector"
# A point without a vector: no search finds it.
RECORD_ID = "5ce77714-0000-4000-8000-000000000000"
RECORD_FIELD = "skerry"
REMEDY = "Check the server, and url and api_key under [vectors]; the index catches up by itself."

# Actix, which the server answers with, closes an idle connection after 5 s: we do it before.
LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=16, keepalive_expiry=2.0)

DISTANCES: dict[Distance, models.Distance] = {
    "cosine": models.Distance.COSINE,
    "dot": models.Distance.DOT,
    "euclid": models.Distance.EUCLID,
}
# As in the embedded engine: a graph per field value would triple the build, ACORN gives the
# recall instead.
FIELD_INDEXES: dict[FieldType, models.PayloadSchemaParams] = {
    "keyword": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, enable_hnsw=False),
    "integer": models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, enable_hnsw=False),
    "float": models.FloatIndexParams(type=models.FloatIndexType.FLOAT, enable_hnsw=False),
    "bool": models.BoolIndexParams(type=models.BoolIndexType.BOOL, enable_hnsw=False),
    "datetime": models.DatetimeIndexParams(
        type=models.DatetimeIndexType.DATETIME, enable_hnsw=False
    ),
    "geo": models.GeoIndexParams(type=models.GeoIndexType.GEO, enable_hnsw=False),
    "text": models.TextIndexParams(type=models.TextIndexType.TEXT, enable_hnsw=False),
}


class QdrantOptions(msgspec.Struct, forbid_unknown_fields=True):
    """Keys of the table in skerry.toml."""

    url: str = ""
    """`http://host:6333` or `https://…` of the server's REST interface."""
    api_key: str = ""
    """Its key; empty: it asks for none."""
    m: int = 16
    """Edges of a point in the graph; read when a collection is made."""
    ef_construct: int = 100
    """Candidates looked at when a point is put into the graph; read when a collection is made."""
    ef: int = 96
    """Candidates looked at in a search: more is slower and finds more."""
    timeout_s: float = 10.0
    """How long one call may take before the server is taken for unreachable."""
    check_s: float = 5.0
    """How often the server is asked whether the collection is still as this node left it."""


class QdrantServer:
    """The official client over REST. Every call raises IndexUnavailable when it fails.

    Overloaded for 429, and Unprocessable for a search that the server refuses.
    """

    def __init__(self, options: QdrantOptions) -> None:
        self._options = options
        self.place = place_of(options.url)
        # As a header: the client's own parameter warns on stderr at each connection over http.
        headers = {"api-key": options.api_key} if options.api_key else None
        self._client = AsyncQdrantClient(
            url=options.url, headers=headers, timeout=max(1, round(options.timeout_s)),
            limits=LIMITS, check_compatibility=False,
        )  # fmt: skip

    async def create(self, collection: str, spec: CollectionSpec) -> None:
        """Make the collection with its field indexes."""
        options = self._options
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
        await self._reach(
            self._client.create_collection(
                collection,
                {VECTOR: models.VectorParams(size=spec.size, distance=DISTANCES[spec.distance])},
                hnsw_config=models.HnswConfigDiff(m=options.m, ef_construct=options.ef_construct),
                quantization_config=models.ScalarQuantization(scalar=scalar),
                # A document's own fields have no index, and can be filtered by all the same.
                strict_mode_config=models.StrictModeConfig(enabled=False),
            )
        )
        for name, kind in spec.fields.items():
            index = FIELD_INDEXES[kind]
            await self._reach(
                self._client.create_payload_index(collection, engine_path(name), index)
            )

    async def drop(self, collection: str) -> None:
        """Delete the collection; harmless when it is not there."""
        with suppress(CollectionMissing):
            await self._reach(self._client.delete_collection(collection))

    async def read_record(self, collection: str) -> Record | None:
        """The record in the collection; None without one, or without the collection."""
        try:
            found = await self._reach(self._client.retrieve(collection, [RECORD_ID]))
        except CollectionMissing:
            return None
        return decode_record((found[0].payload or {}).get(RECORD_FIELD)) if found else None

    async def write(
        self,
        collection: str,
        record: Record,
        *,
        after: Record | None,
        upserts: Sequence[Point] = (),
        vectors: Float32 | None = None,
        deletes: Sequence[int] = (),
    ) -> None:
        """Upsert, delete, then put the record, in this order and in one request.

        The record is left alone where `after` does not stand any more: reading it shows that.
        None puts the first one. `vectors` is float32 (n, size), those of `upserts`. On return
        searches see the changes, and they stand in the server's write-ahead log.
        """
        operations: list[models.UpdateOperation] = []
        if upserts and vectors is not None:
            operations.append(_upsert(upserts, vectors))
        if deletes:
            points = models.PointIdsList(points=[*deletes])
            operations.append(models.DeleteOperation(delete=points))
        operations.append(_put_record(record, after=after))
        await self._reach(self._client.batch_update_points(collection, operations, wait=True))

    async def search(
        self, collection: str, query: Float32, *, limit: int, filter: Filter | None, exact: bool
    ) -> list[Match]:
        """The nearest points to float32 (size,), nearest first."""
        try:
            answer = await self._reach(
                self._client.query_points(
                    collection, query.tolist(), using=VECTOR, limit=limit,
                    query_filter=None if filter is None else to_server(filter),
                    search_params=self._params(limit, exact=exact, filtered=filter is not None),
                    with_payload=False,
                )
            )  # fmt: skip
        except Refused as error:
            raise Unprocessable(error.message, remedy="Use another filter or limit.") from error
        return [Match(int(point.id), point.score) for point in answer.points]

    async def status(self, collection: str, *, applied_seq: int) -> CollectionStatus:
        """Counts of points, without the record; near enough while the server optimises."""
        info = await self._reach(self._client.get_collection(collection))
        points = max(0, (info.points_count or 0) - 1)
        return CollectionStatus(points, min(points, info.indexed_vectors_count or 0), applied_seq)

    async def count(self, collection: str) -> int:
        """An exact count of points, without the record; the server looks at every id."""
        counted = await self._reach(self._client.count(collection, exact=True))
        return counted.count - 1

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _params(self, limit: int, *, exact: bool, filtered: bool) -> models.SearchParams:
        if exact:
            return models.SearchParams(exact=True)
        return models.SearchParams(
            hnsw_ef=max(self._options.ef, limit),
            # Without ACORN a filter cuts the graph apart and recall falls to a tenth.
            acorn=models.AcornSearchParams(enable=filtered),
            quantization=models.QuantizationSearchParams(rescore=True, oversampling=2.0),
        )

    async def _reach(self, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._options.timeout_s):
                return await call
        except TimeoutError as error:
            what = f"did not answer within {self._options.timeout_s:g} s"
            raise self._unavailable(what) from error
        except ResourceExhaustedResponse as error:
            message = f"The Qdrant server at {self.place} has too much to do."
            raise Overloaded(message, retry_after_s=error.retry_after_s) from error
        except UnexpectedResponse as error:
            raise self._refusal(error) from error
        except (ApiException, ValueError, AssertionError) as error:
            reason = getattr(error, "source", error)
            # Something else listens there: a proxy's page is no JSON, or not Qdrant's. The client
            # asserts that an answer has a result.
            is_other = isinstance(reason, ValueError | AssertionError)
            does = "is none" if is_other else "does not answer"
            raise self._unavailable(f"{does}: {_first_line(reason)}") from error

    def _refusal(self, error: UnexpectedResponse) -> IndexUnavailable:
        status, words = error.status_code or 0, _words(error.content)
        if status in (401, 403):
            return self._unavailable(f"refuses the API key ({status})")
        if status == 404:
            return CollectionMissing(
                f"The Qdrant server at {self.place} has no such collection: {words}"
            )
        if status in (400, 422):
            return Refused(f"The Qdrant server at {self.place} refuses: {words}", remedy=REMEDY)
        return self._unavailable(f"answers {status}: {words}")

    def _unavailable(self, what: str) -> IndexUnavailable:
        message = f"The Qdrant server at {self.place} {what}."
        return IndexUnavailable(message, remedy=REMEDY, retry_after_s=5.0)


class CollectionMissing(IndexUnavailable):
    """The server answers, and has no such collection."""


class Refused(IndexUnavailable):
    """The server answers, and will not do what was asked."""


def place_of(url: str) -> str:
    """`host:port` for messages; ConfigError for what is no address of a server."""
    parts = urlsplit(url)
    try:
        port = parts.port or 6333
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or not port:
        raise ConfigError(
            "vectors.url is no address of a Qdrant server.", remedy='url = "http://qdrant:6333"'
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigError("vectors.url holds a login.", remedy="Put the key into vectors.api_key.")
    return f"{parts.hostname}:{port}"


def _upsert(points: Sequence[Point], vectors: Float32) -> models.UpsertOperation:
    batch = models.Batch(
        ids=[point.id for point in points],
        vectors={VECTOR: vectors.tolist()},
        payloads=[dict(point.payload) for point in points],
    )
    return models.UpsertOperation(upsert=models.PointsBatch(batch=batch))


def _put_record(record: Record, *, after: Record | None) -> models.UpsertOperation:
    payload = {RECORD_FIELD: encode_record(record)}
    points = models.PointsList(
        points=[models.PointStruct(id=RECORD_ID, vector={}, payload=payload)]
    )
    if after is not None:
        points.update_mode = models.UpdateMode.UPDATE_ONLY
        points.update_filter = models.Filter(
            must=[
                _record_has("token", after.token),
                _record_has("applied_seq", after.applied_seq),
            ]
        )
    return models.UpsertOperation(upsert=points)


def _record_has(name: str, value: str | int) -> models.FieldCondition:
    match = models.MatchValue(value=value)
    return models.FieldCondition(key=f"{RECORD_FIELD}.{name}", match=match)


def _words(content: bytes) -> str:
    """What the server says is wrong, in its own words."""
    try:
        status: Any = msgspec.json.decode(content)["status"]
        return str(status["error"])[:200]
    except (msgspec.DecodeError, TypeError, KeyError):
        return content[:200].decode("utf-8", "replace")


def _first_line(error: object) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__} {lines[0]}" if lines else type(error).__name__
