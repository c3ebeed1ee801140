"""The least that answers a cached recognition: no checks, no metrics, no errors, one route.

Run as `python benchmarks/bare_endpoint.py FOLDER PORT`; FOLDER holds `vectors.npy`.
"""

from __future__ import annotations

import gc
import hashlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import numpy as np
import orjson
import uvicorn
from _photos import WORK
from _processes import Service, free_port, spawn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skerry.index.images import IMAGE_FIELDS
from skerry.kv.memory import MemoryStore
from skerry.vectors.base import Changes, CollectionSpec, Point
from skerry.vectors.edge import EdgeVectors

VECTORS = "vectors.npy"
LIMIT = 10
LABELS = [
    {"label": f"a label of usual length {index}", "index": index, "probability": 0.123456}
    for index in range(5)
]
MODEL = {
    "name": "efficientnet-lite2", "precision": "int8", "fingerprint": "0" * 64,
    "engine": "openvino", "device": "cpu",
}  # fmt: skip
QUERY = (
    "SELECT images.id, filename, uploaded_by, created_at, tags FROM json_each(?) AS wanted "
    "JOIN images ON images.id = wanted.value"
)


def start_bare(folder: Path, vectors: np.ndarray) -> Service:
    """A process that serves the bare endpoint over `vectors`, float32 (n, d)."""
    folder.mkdir(parents=True)
    np.save(folder / VECTORS, vectors)
    port = free_port()
    arguments = [str(Path(__file__).resolve()), str(folder), str(port)]
    service = spawn("bare endpoint", arguments, log=WORK / "logs" / "bare.log")
    service.url = f"http://127.0.0.1:{port}"
    return service


class Bare:
    """What the endpoint holds: a cache, an index, a table."""

    def __init__(self, folder: Path) -> None:
        self.cache = MemoryStore(MemoryStore.Options())
        self.index = EdgeVectors(EdgeVectors.Options(), folder=folder / "vectors")
        self.vectors = np.load(folder / VECTORS)
        self.table = apsw.Connection(str(folder / "rows.db"))
        self.table.execute(
            "CREATE TABLE images (id INTEGER PRIMARY KEY, filename, uploaded_by, created_at, tags)"
        )
        ids = range(1, len(self.vectors) + 1)
        rows = [(number, f"{number:05}.jpg", "", 1764000000, "{}") for number in ids]
        with self.table:
            self.table.executemany("INSERT INTO images VALUES (?, ?, ?, ?, ?)", rows)

    async def open(self) -> None:
        """Fill the index."""
        await self.index.open(
            CollectionSpec("images", "bare", self.vectors.shape[1], fields=IMAGE_FIELDS)
        )
        payload = {"uploaded_by": "", "created_at": 1764000000, "label": ["tabby"], "tags": []}
        points = [Point(at + 1, vector, payload) for at, vector in enumerate(self.vectors)]
        await self.index.apply(Changes(seq=1, upserts=points, deletes=[]))

    async def answer(self, request: Request) -> Response:
        """Hash, look up, search, read ten rows, write JSON."""
        body = await request.body()
        key = f"features:{hashlib.sha256(body).hexdigest()}:{MODEL['fingerprint']}"
        packed = await self.cache.get(key)
        if packed is None:
            packed = self.vectors[int(key[9:17], 16) % len(self.vectors)].tobytes()
            await self.cache.set(key, packed, ttl_s=86_400)
        vector = np.frombuffer(packed, np.float32)
        matches = await self.index.search(vector, limit=LIMIT)
        ids = orjson.dumps([match.id for match in matches]).decode()
        rows = {row[0]: row for row in self.table.execute(QUERY, (ids,))}
        content = {
            "labels": LABELS,
            "similar_images": [
                {
                    "id": match.id,
                    "filename": rows[match.id][1],
                    "uploaded_by": rows[match.id][2],
                    "created_at": rows[match.id][3],
                    "similarity_score": round(match.score, 6),
                }
                for match in matches
            ],
            "suggested_tags": [],
            "total_time_ms": 1.234,
            "inference_time_ms": 0.0,
            "search_time_ms": 0.345,
            "metadata_time_ms": 0.123,
            "cache": "hit",
            "model": MODEL,
            "request_id": "0" * 32,
        }
        if request.scope["query_string"] != b"features=false":
            content["feature_vector"] = vector
        data = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(data, media_type="application/json")


def make_app(bare: Bare) -> Starlette:
    """One route."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await bare.open()
        gc.freeze()  # as the node does
        yield
        await bare.index.close()

    async def health(request: Request) -> Response:
        return Response()

    routes = [Route("/", bare.answer, methods=["POST"]), Route("/health", health)]
    return Starlette(routes=routes, lifespan=lifespan)


def main() -> None:
    folder, port = sys.argv[1:]
    app = make_app(Bare(Path(folder)))
    uvicorn.run(
        app, port=int(port), loop="uvloop", http="httptools", ws="none",
        access_log=False, log_level="error", proxy_headers=False, server_header=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
