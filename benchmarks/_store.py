"""Store things on a node from several clients, each one acknowledged before the next is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import msgspec


@dataclass(frozen=True, slots=True)
class Post:
    """One request that is answered 201."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def images(paths: Sequence[Path]) -> Iterator[Post]:
    """Each file as a request, read when its turn comes."""
    for path in paths:
        yield Post(f"/api/images?filename={path.name}", path.read_bytes())


def documents(batches: Iterable[Sequence[object]]) -> Iterator[Post]:
    """Each list of documents as a request."""
    for batch in batches:
        body = msgspec.json.encode(batch)
        yield Post("/api/documents", body, {"Content-Type": "application/json"})


@dataclass(frozen=True, slots=True)
class Stored:
    """How long storing took: in all, and from sending each request to its acknowledgement."""

    seconds: float
    latencies_ms: list[float]

    @property
    def per_s(self) -> float:
        """Requests answered a second."""
        return len(self.latencies_ms) / self.seconds


class Uploads:
    """Clients that share one list of requests; SystemExit when one is not answered 201."""

    def __init__(self, url: str, posts: Iterable[Post]) -> None:
        self._address = urlsplit(url).netloc
        self._posts = iter(posts)
        self._lock = threading.Lock()
        self._latencies_ms: list[float] = []
        self._failures: list[str] = []

    @property
    def done(self) -> int:
        """Requests acknowledged so far."""
        return len(self._latencies_ms)

    def run(self, *, clients: int, watch: Callable[[], None] | None = None) -> Stored:
        """Store everything; `watch` is called about once a second meanwhile."""
        began = time.perf_counter()
        threads = [threading.Thread(target=self._client, daemon=True) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(1.0)
                if watch is not None:
                    watch()
        if self._failures:
            raise SystemExit(f"Not everything was stored: {self._failures[0]}")
        return Stored(time.perf_counter() - began, self._latencies_ms)

    def _client(self) -> None:
        connection = HTTPConnection(self._address, timeout=60)
        try:
            self._send_all(connection)
        except (OSError, HTTPException) as error:
            self._failures.append(f"{type(error).__name__}: {error}")
        finally:
            connection.close()

    def _send_all(self, connection: HTTPConnection) -> None:
        while not self._failures and (post := self._next()) is not None:
            began = time.perf_counter()
            connection.request("POST", post.path, body=post.body, headers=dict(post.headers))
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 201:
                self._failures.append(f"{answer.status} {text[:300]!r}")
            self._latencies_ms.append(1e3 * (time.perf_counter() - began))

    def _next(self) -> Post | None:
        with self._lock:
            return next(self._posts, None)
