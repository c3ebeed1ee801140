"""What an exact search over the vectors in a node's database finds, beside what the node finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import apsw
import msgspec
import numpy as np
from _collection import FIRST_TIMESTAMP
from _processes import Service
from numpy.typing import NDArray

LIMIT = 10
ASKED = 200
"""Queries whose answers are compared."""
STORED = (
    "SELECT item_id, vector, timestamp FROM embeddings JOIN chunks ON chunks.id = item_id "
    "JOIN documents ON documents.key = chunks.document WHERE kind = 'chunk'"
)


@dataclass(frozen=True, slots=True)
class Truth:
    """The stored chunks: ids, vectors (float32 (n, d)), numbers; and the queries' vectors."""

    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    numbers: NDArray[np.int64]
    queries: NDArray[np.float32]

    @classmethod
    def read(cls, node: Service, data: Path, queries: Sequence[str]) -> Truth:
        """From the node's database, and its own embeddings of the queries."""
        connection = apsw.Connection(str(data / "skerry.db"), flags=apsw.SQLITE_OPEN_READONLY)
        rows = list(connection.execute(STORED))
        connection.close()
        vectors = np.frombuffer(b"".join(row[1] for row in rows), np.float32)
        answer = _post(node, "/v1/embeddings", {"input": list(queries[:ASKED])})
        return cls(
            np.array([row[0] for row in rows]),
            vectors.reshape(len(rows), -1),
            np.array([row[2] for row in rows]) - FIRST_TIMESTAMP,
            np.array([entry["embedding"] for entry in answer["data"]], np.float32),
        )

    def passing(self, *, every: int, remainder: int, least: int) -> NDArray[np.bool_]:
        """Which chunks a filter lets through."""
        kept: NDArray[np.bool_] = (self.numbers % every == remainder) & (self.numbers >= least)
        return kept

    def scores(self, passing: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The similarity of the tenth nearest chunk that passes, for each query."""
        similar = self.queries @ self.vectors[passing].T
        least: NDArray[np.float32] = np.sort(similar, axis=1)[:, -LIMIT:][:, 0]
        return least


def recall(
    node: Service,
    queries: Sequence[str],
    body: dict[str, object],
    truth: Truth,
    passing: NDArray[np.bool_],
) -> float:
    """The part of the ten nearest that the node finds; one as near as the tenth counts as well."""
    place = {int(number): at for at, number in enumerate(truth.ids)}
    found, wanted = 0, LIMIT * len(truth.queries)
    least = truth.scores(passing)
    for number, vector in enumerate(truth.queries):
        answer = _post(node, "/api/search", {"query": queries[number], "limit": LIMIT, **body})
        at = [place[result["chunk"]] for result in answer["results"]]
        if not passing[at].all():
            raise SystemExit(f"A result does not pass the filter {body}")
        found += int((truth.vectors[at] @ vector >= least[number] - 1e-6).sum())
    return found / wanted


def _post(node: Service, path: str, body: dict[str, Any]) -> Any:
    connection = HTTPConnection(urlsplit(node.url).netloc, timeout=60)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", path, msgspec.json.encode(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path} answered {answer.status}: {text[:300]!r}")
        return msgspec.json.decode(text)
    finally:
        connection.close()
