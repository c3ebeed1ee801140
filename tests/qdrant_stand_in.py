"""A stand-in for a Qdrant server: its REST paths, over the embedded engine that Qdrant ships.

No server can be had from the package registries. What is Qdrant's own here: the request bodies,
parsed by the official client's models, and the engine that stores and searches. What is not: the
server's HTTP layer, its write-ahead log, optimisers and clustering.

    python tests/qdrant_stand_in.py FOLDER PORT [API_KEY]
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import qdrant_edge as qe
import uvicorn
from qdrant_client import models
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

INDEXES = {
    "keyword": qe.KeywordIndexParams,
    "integer": qe.IntegerIndexParams,
    "float": qe.FloatIndexParams,
    "bool": qe.BoolIndexParams,
}
# The client wants them in a collection's description; nobody looks at them.
HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}
OPTIMIZERS = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "flush_interval_sec": 5,
}
MATCHES = {
    models.MatchAny: lambda match: qe.MatchAny(match.any),
    models.MatchExcept: lambda match: qe.MatchExcept(match.except_),
    # The engine's binding takes True for the integer 1; it knows numpy's bool.
    models.MatchValue: lambda match: qe.MatchValue(
        np.bool_(match.value) if isinstance(match.value, bool) else match.value
    ),
}


class Server:
    """Collections in a folder, found again after a kill."""

    def __init__(self, folder: Path, api_key: str) -> None:
        self.folder = folder
        self.api_key = api_key
        folder.mkdir(parents=True, exist_ok=True)
        self.shards = {path.name: qe.EdgeShard.load(str(path)) for path in folder.iterdir()}

    async def answer(self, request: Request) -> Response:
        if self.api_key and request.headers.get("api-key") != self.api_key:
            return failed(401, "Must provide an API key or an Authorization bearer token")
        name = request.path_params["name"]
        call = (request.method, request.path_params.get("rest", ""))
        if call != ("PUT", "") and name not in self.shards:
            return failed(404, f"Not found: Collection `{name}` doesn't exist!")
        try:
            result = CALLS[call](self, name, await request.body())
        except Exception as error:  # the engine's refusals and the models' have no common base
            return failed(400, f"Wrong input: {error}")
        return JSONResponse({"result": result, "status": "ok", "time": 0.0})

    def create(self, name: str, body: bytes) -> bool:
        wanted = models.CreateCollection.model_validate_json(body)
        vectors = {
            key: qe.EdgeVectorParams(size=given.size, distance=getattr(qe.Distance, given.distance))
            for key, given in wanted.vectors.items()
        }
        path = self.folder / name
        path.mkdir()
        self.shards[name] = qe.EdgeShard.create(str(path), qe.EdgeConfig(vectors=vectors))
        return True

    def drop(self, name: str, body: bytes) -> bool:
        self.shards.pop(name).close()
        shutil.rmtree(self.folder / name)
        return True

    def describe(self, name: str, body: bytes) -> dict[str, Any]:
        info = self.shards[name].info()
        return {
            "status": "green",
            "optimizer_status": "ok",
            "points_count": info.points_count,
            "indexed_vectors_count": info.indexed_vectors_count,
            "segments_count": info.segments_count,
            "config": {"params": {}, "hnsw_config": HNSW, "optimizer_config": OPTIMIZERS},
            "payload_schema": {},
        }

    def index(self, name: str, body: bytes) -> dict[str, Any]:
        wanted = models.CreateFieldIndex.model_validate_json(body)
        params = INDEXES[wanted.field_schema.type.value](
            enable_hnsw=wanted.field_schema.enable_hnsw
        )
        operation = qe.UpdateOperation.create_field_index(wanted.field_name, params)
        self.shards[name].update(operation)
        return {"operation_id": 0, "status": "completed"}

    def update(self, name: str, body: bytes) -> list[dict[str, Any]]:
        operations = models.UpdateOperations.model_validate_json(body).operations
        for operation in operations:
            self.shards[name].update(to_engine(operation))
        return [{"operation_id": 0, "status": "completed"} for _ in operations]

    def retrieve(self, name: str, body: bytes) -> list[dict[str, Any]]:
        wanted = models.PointRequest.model_validate_json(body)
        ids = [point_id(one) for one in wanted.ids]
        found = self.shards[name].retrieve(ids, with_payload=True, with_vector=False)
        return [{"id": str(point.id), "payload": point.payload} for point in found]

    def count(self, name: str, body: bytes) -> dict[str, int]:
        wanted = models.CountRequest.model_validate_json(body)
        return {"count": self.shards[name].count(qe.CountRequest(exact=wanted.exact))}

    def query(self, name: str, body: bytes) -> dict[str, Any]:
        wanted = models.QueryRequest.model_validate_json(body)
        request = qe.QueryRequest(
            limit=wanted.limit,
            query=qe.Query.Nearest(wanted.query.nearest, using=wanted.using),
            filter=None if wanted.filter is None else filter_of(wanted.filter),
            params=qe.SearchParams(hnsw_ef=wanted.params.hnsw_ef, exact=wanted.params.exact),
        )
        found = self.shards[name].query(request)
        return {"points": [{"id": p.id, "version": p.version, "score": p.score} for p in found]}


CALLS = {
    ("PUT", ""): Server.create,
    ("DELETE", ""): Server.drop,
    ("GET", ""): Server.describe,
    ("PUT", "index"): Server.index,
    ("POST", "points"): Server.retrieve,
    ("POST", "points/batch"): Server.update,
    ("POST", "points/count"): Server.count,
    ("POST", "points/query"): Server.query,
}


def to_engine(operation: Any) -> qe.UpdateOperation:
    if isinstance(operation, models.DeleteOperation):
        return qe.UpdateOperation.delete_points(operation.delete.points)
    given = operation.upsert
    if isinstance(given, models.PointsList):
        rows = [(point.id, point.vector, point.payload) for point in given.points]
    else:
        batch = given.batch
        columns = [
            {name: row[n] for name, row in batch.vectors.items()} for n in range(len(batch.ids))
        ]
        rows = list(zip(batch.ids, columns, batch.payloads, strict=True))
    points = [qe.Point(point_id(one), vector, payload) for one, vector, payload in rows]
    if given.update_mode is None:
        return qe.UpdateOperation.upsert_points(points)
    assert given.update_mode is models.UpdateMode.UPDATE_ONLY
    mode = qe.UpdateMode.UpdateOnly
    return qe.UpdateOperation.upsert_points(points, filter_of(given.update_filter), mode)


def point_id(given: Any) -> Any:
    return given if isinstance(given, int) else uuid.UUID(str(given))


def filter_of(given: models.Filter) -> qe.Filter:
    return qe.Filter(
        must=[condition(one) for one in given.must or ()] or None,
        should=[condition(one) for one in given.should or ()] or None,
        must_not=[condition(one) for one in given.must_not or ()] or None,
    )


def condition(given: Any) -> Any:
    if isinstance(given, models.Filter):
        return filter_of(given)
    assert isinstance(given, models.FieldCondition), given
    if given.match is not None:
        return qe.FieldCondition(given.key, match=MATCHES[type(given.match)](given.match))
    return qe.FieldCondition(given.key, range=qe.RangeFloat(**given.range.model_dump()))


def failed(status: int, words: str) -> Response:
    return JSONResponse({"status": {"error": words}, "time": 0.0}, status_code=status)


class StandIn:
    """The server in a process of its own, to be killed, emptied and started again."""

    def __init__(self, folder: Path, *, api_key: str = "") -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._command = [sys.executable, __file__, str(folder), str(port), api_key]
        self._headers = {"api-key": api_key}
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command)
        end = time.monotonic() + 30
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < end, "it does not start"
            time.sleep(0.02)

    def reset(self) -> None:
        """Running, and empty."""
        if self._process.poll() is not None:
            self.start()
        for name in self.collections():
            self.call("DELETE", name)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def empty(self) -> None:
        """Delete what it stores; it must not run."""
        shutil.rmtree(self.folder)

    def collections(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}

    def call(self, method: str, path: str, **json: Any) -> Any:
        url = f"{self.url}/collections/{path}"
        answer = httpx.request(
            method, url, json=json or None, headers=self._headers, trust_env=False
        )
        return answer.raise_for_status().json()["result"]

    def _answers(self) -> bool:
        try:
            httpx.get(f"{self.url}/collections/none", trust_env=False)
        except httpx.TransportError:
            return False
        return True


def main(folder: str, port: str, api_key: str = "") -> None:
    server = Server(Path(folder), api_key)
    paths = ("/collections/{name}", "/collections/{name}/{rest:path}")
    methods = ["GET", "PUT", "POST", "DELETE"]
    app = Starlette(routes=[Route(path, server.answer, methods=methods) for path in paths])
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
