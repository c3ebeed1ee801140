"""One collection inside the worker: the engine's shard, its record, and searches in slices."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import qdrant_edge as qe

from skerry.vectors.base import (
    CollectionSpec,
    CollectionStatus,
    Distance,
    FieldType,
    Filter,
    Match,
)
from skerry.vectors.edge_filters import to_engine
from skerry.vectors.in_use import InUse
from skerry.vectors.operations import Operations
from skerry.vectors.pairs import PAIRS_FIELD, pairs_of
from skerry.vectors.record import Record, Unusable, read_record, write_record
from skerry.vectors.wire import Apply, Quantization, Search, Tuning

ENGINE_FOLDER = "shard"
LOADING_MARK = "loading"
MAX_LOADS = 2

# Every point is in one of these slices by its id; a thorough search goes through them in turn.
SLICES = 256
SLICE_FIELD = "__slice"

# A filter that keeps fewer kilobytes than this is scanned, in int8: at 100,000 points 0.7 ms for
# a tenth of them, where the graph took 6.5 ms to find as much.
SCAN_KB = 40_000
# A segment below this has no graph.
GRAPH_KB = 10_000
# A copy costs a pass over all vectors: the scanned part has to be worth that.
OPTIMISE_BYTES = 12 << 20
OPTIMISE_SHARE = 0.1
VACUUM_POINTS = 1000
VACUUM_SHARE = 0.2

DISTANCES: dict[Distance, Any] = {
    "cosine": qe.Distance.Cosine,
    "dot": qe.Distance.Dot,
    "euclid": qe.Distance.Euclid,
}
# Of a byte a value, all in memory; the originals, which rescore the best, are mapped files.
QUANTIZATIONS: dict[Quantization, Any] = {
    "scalar": qe.ScalarQuantizationConfig(qe.ScalarType.Int8, memory=qe.Memory.Pinned),
    "none": None,
}
FIELD_INDEXES: dict[FieldType, Any] = {
    "keyword": qe.KeywordIndexParams,
    "integer": qe.IntegerIndexParams,
    "float": qe.FloatIndexParams,
    "bool": qe.BoolIndexParams,
    "datetime": qe.DatetimeIndexParams,
    "geo": qe.GeoIndexParams,
    "text": qe.TextIndexParams,
}


class Shard:
    """An open collection. Every method blocks; one thread uses it."""

    def __init__(self, folder: Path, record: Record, tuning: Tuning, engine: qe.EdgeShard) -> None:
        self.record = record
        self._folder = folder
        self._tuning = tuning
        self._engine = engine
        self._mark = InUse(folder)
        self._operations = Operations(folder, engine)
        self._points: int = engine.info().points_count

    def status(self) -> CollectionStatus:
        """Counts and the applied seq."""
        points, unindexed = self._points, min(self.record.unindexed, self._points)
        scanned_bytes = unindexed * self.record.spec.size * 4
        return CollectionStatus(
            points=points,
            indexed=points - unindexed,
            applied_seq=self.record.applied_seq,
            doubtful=self._mark.doubtful,
            optimisable=(
                (scanned_bytes >= OPTIMISE_BYTES and unindexed >= points * OPTIMISE_SHARE)
                or (self.record.deleted > max(VACUUM_POINTS, points * VACUUM_SHARE))
            ),
        )

    def apply(self, changes: Apply) -> None:
        """Upsert and delete; safe to repeat."""
        if changes.ids:
            size = self.record.spec.size
            vectors = np.frombuffer(changes.vectors, np.float32).reshape(len(changes.ids), size)
            payloads = [
                self._with_marks(*one) for one in zip(changes.ids, changes.payloads, strict=True)
            ]
            points = _points(changes.ids, vectors.tolist(), payloads)
            self._operations.give(qe.UpdateOperation.upsert_points(points))
        if changes.deletes:
            self._operations.give(qe.UpdateOperation.delete_points([*changes.deletes]))
        self.record.unindexed += len(changes.ids)
        self.record.deleted += len(changes.deletes)
        self.record.applied_seq = changes.seq
        self._points = self._engine.info().points_count

    def search(self, search: Search) -> list[Match]:
        """The nearest points by the graph, or exactly when the search is thorough."""
        wanted = None if search.filter is None else self._wanted(search.filter)
        return self._query(search, wanted, self._params(search, filtered=wanted is not None))

    def begin(self, search: Search) -> SlicedSearch | None:
        """The search in slices; None when the collection is small enough to do it at once."""
        if self._points <= self._tuning.slice_points:
            return None
        step = max(1, SLICES * self._tuning.slice_points // self._points)
        return SlicedSearch(search, step)

    def advance(self, sliced: SlicedSearch) -> None:
        """Search the next slice and keep the best so far."""
        search, start = sliced.search, sliced.next_slice
        within = qe.FieldCondition(
            SLICE_FIELD, range=qe.RangeFloat(gte=start, lt=start + sliced.step)
        )
        conditions: list[Any] = [within]
        if search.filter is not None:
            conditions.append(self._wanted(search.filter))
        found = self._query(search, qe.Filter(must=conditions), qe.SearchParams(exact=True))
        far_first = self.record.spec.distance != "euclid"
        found = sorted(sliced.best + found, key=lambda match: match.score, reverse=far_first)
        sliced.best = found[: search.limit]
        sliced.next_slice += sliced.step

    def flush(self) -> None:
        """Sync what was applied, then say so in the record."""
        self._operations.flush_begins()
        self._engine.flush()
        write_record(self._folder, self.record)
        self._operations.flush_ended()

    def build(self) -> None:
        """Build the graph over all points and drop what was deleted; seconds to minutes."""
        self._engine.optimize()
        info = self._engine.info()
        self.record.unindexed = max(0, info.points_count - info.indexed_vectors_count)
        self.record.deleted = 0
        self.flush()

    def close(self) -> None:
        """Flush and free the engine."""
        self.flush()
        self._engine.close()
        self._mark.remove()

    def _with_marks(self, point_id: int, payload: dict[str, Any]) -> dict[str, Any]:
        marks: dict[str, Any] = {SLICE_FIELD: slice_of(point_id)}
        if pairs := pairs_of(payload, self.record.spec.fields):
            marks[PAIRS_FIELD] = pairs
        return payload | marks

    def _wanted(self, filter: Filter) -> qe.Filter:
        return to_engine(filter, indexed=self.record.spec.fields)

    def _params(self, search: Search, *, filtered: bool) -> qe.SearchParams:
        if search.thorough:
            return qe.SearchParams(exact=True)
        return qe.SearchParams(
            hnsw_ef=max(self._tuning.ef, search.limit),
            # Without ACORN a filter cuts the graph apart and recall falls to a tenth.
            acorn=qe.AcornSearchParams(enable=filtered),
            quantization=qe.QuantizationSearchParams(rescore=True, oversampling=2.0),
        )

    def _query(
        self, search: Search, filter: qe.Filter | None, params: qe.SearchParams
    ) -> list[Match]:
        query = qe.Query.Nearest(np.frombuffer(search.vector, np.float32).tolist())
        request = qe.QueryRequest(limit=search.limit, query=query, filter=filter, params=params)
        found = self._engine.query(request)
        # Only whole numbers are ever given as ids.
        return [Match(cast(int, point.id), point.score) for point in found]


@dataclass(slots=True)
class SlicedSearch:
    """A thorough search under way."""

    search: Search
    step: int
    next_slice: int = 0
    best: list[Match] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether all slices were searched."""
        return self.next_slice >= SLICES


def open_shard(folder: Path, spec: CollectionSpec, tuning: Tuning) -> tuple[Shard, str]:
    """The collection as it was flushed, or an empty one and why.

    Raises SpaceMismatch for a collection of other vectors.
    """
    engine_folder = folder / ENGINE_FOLDER
    try:
        record = read_record(folder, spec, quantization=tuning.quantization)
        return Shard(folder, record, tuning, _load(engine_folder)), ""
    except Unusable as unusable:
        reason = str(unusable)
    shutil.rmtree(folder, ignore_errors=True)
    engine_folder.mkdir(parents=True)
    record = Record(spec, quantization=tuning.quantization)
    shard = Shard(folder, record, tuning, _create(engine_folder, spec, tuning))
    shard.flush()
    return shard, reason


def _load(folder: Path) -> qe.EdgeShard:
    # A damaged file can end the whole process: the mark it leaves tells the next one.
    mark = folder.with_name(LOADING_MARK)
    tried = len(mark.read_bytes()) if mark.exists() else 0
    if tried >= MAX_LOADS:
        raise Unusable(f"the engine ended {tried} times while loading it")
    mark.write_bytes(b"." * (tried + 1))
    try:
        engine = qe.EdgeShard.load(str(folder))
    except BaseException as error:  # or it can panic, which is no Exception
        raise Unusable(f"the engine cannot load it: {error}") from error
    mark.unlink()
    return engine


def _create(folder: Path, spec: CollectionSpec, tuning: Tuning) -> qe.EdgeShard:
    config = qe.EdgeConfig(
        vectors=qe.EdgeVectorParams(size=spec.size, distance=DISTANCES[spec.distance]),
        hnsw_config=qe.HnswIndexConfig(
            m=tuning.m, ef_construct=tuning.ef_construct, full_scan_threshold=SCAN_KB
        ),
        quantization_config=QUANTIZATIONS[tuning.quantization],
        optimizers=qe.EdgeOptimizersConfig(indexing_threshold=GRAPH_KB),
        # The caller is one thread: handing each search to a pool only costs (twice the time).
        max_search_threads=1,
        # The log in SQL is the write-ahead log.
        wal_enabled=False,
    )
    engine = qe.EdgeShard.create(str(folder), config)
    kinds: dict[str, FieldType] = {SLICE_FIELD: "integer", PAIRS_FIELD: "integer"}
    for name, kind in {**spec.fields, **kinds}.items():
        # A graph per field value would triple the build; ACORN gives the recall instead.
        params = FIELD_INDEXES[kind](enable_hnsw=False)
        engine.update(qe.UpdateOperation.create_field_index(name, params))
    return engine


def _points(
    ids: Iterable[int], vectors: Iterable[list[float]], payloads: Iterable[dict[str, Any]]
) -> list[qe.Point]:
    return [
        qe.Point(point_id, vector, payload)
        for point_id, vector, payload in zip(ids, vectors, payloads, strict=True)
    ]


def slice_of(point_id: int) -> int:
    """The slice of a point: a multiplicative hash, so that slices are of about equal size."""
    return (point_id * 0x9E3779B97F4A7C15 >> 40) % SLICES
