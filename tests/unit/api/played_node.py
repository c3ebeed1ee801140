"""A node of real HTTP whose text models are played: what they say and when is the test's to set."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import uvicorn

from skerry.api.serve import _server
from skerry.auth.hosts import host_rules
from skerry.config import Settings
from skerry.errors import ContextLengthExceeded, ModelNotFound, WrongTask
from skerry.generation.base import Delta, Event, Finished, GenerationRequest, GeneratorInfo
from skerry.inference.base import EngineInfo
from skerry.metrics import Metrics, Traffic
from skerry.models.manifest import (
    ClassifierManifest,
    EmbeddingManifest,
    Source,
    StoredFile,
    TextInput,
)
from skerry.pipelines.stages import ORDER

WINDOW = 8
SIZE = 4
TEXT = TextInput(tokenizer=StoredFile("tokenizer.json", "", 0), max_tokens=WINDOW)
COMMON: dict[str, Any] = {
    "architecture": "played", "source": Source(kind="file", location="tests"),
    "license": "Apache-2.0", "text": TEXT,
}  # fmt: skip
EMBEDDING = EmbeddingManifest(
    name="played-embedder", embedding_size=SIZE, space="played", pooling="mean",
    prefixes={"query": "query: "}, **COMMON,
)  # fmt: skip
CLASSIFIER = ClassifierManifest(
    name="played-classifier", labels=("positive", "negative", "neutral"), **COMMON
)
INFO = GeneratorInfo(
    model="played-chat", engine="played", device="cpu", slots=2, context=64,
    chat=True, tools=False, logprobs=True, grammar=True,
)  # fmt: skip
END = Finished(reason="stop", prompt_tokens=5, completion_tokens=2, cached_tokens=3)
HELLO: list[Event] = [Delta(text="Hel"), Delta(text="lo"), END]


def engine_info(model: str) -> EngineInfo:
    return EngineInfo(model, "played", "cpu", "fp32", "f" * 16, "played")


@dataclass
class PlayedSlots:
    """Says `script`; an exception in it is raised, None waits for ever."""

    info: GeneratorInfo = INFO
    script: list[Event | Exception | None] = field(default_factory=lambda: list(HELLO))
    asked: list[GenerationRequest] = field(default_factory=list)
    active: int = 0
    most_active: int = 0

    async def generate(
        self, request: GenerationRequest, *, deadline: float
    ) -> AsyncIterator[Event]:
        assert deadline > asyncio.get_running_loop().time()
        self.asked.append(request)
        self.active += 1
        self.most_active = max(self.active, self.most_active)
        try:
            for event in self.script:
                await asyncio.sleep(0)
                if event is None:
                    await asyncio.Event().wait()
                elif isinstance(event, Exception):
                    raise event
                else:
                    yield event
        finally:
            self.active -= 1


@dataclass
class PlayedEmbedder:
    """A vector of the text's length; a token is a word."""

    manifest: EmbeddingManifest = EMBEDDING
    info: EngineInfo = field(default_factory=lambda: engine_info("played-embedder"))
    calls: list[tuple[int, str, str]] = field(default_factory=list)

    async def embed(
        self, texts: Sequence[str | Sequence[int]], *, deadline: float, stages: Any,
        long: str = "refuse", use: str = "",
    ) -> Any:  # fmt: skip
        self.calls.append((len(texts), long, use))
        tokens = [len(t.split() if isinstance(t, str) else t) for t in texts]
        check_window(tokens, long)
        vectors = np.array([[len(t), 0.1, 1e-8, -1] for t in texts], np.float32)
        return PlayedEmbeddings(vectors, tokens)


@dataclass
class PlayedEmbeddings:
    vectors: np.ndarray
    tokens: list[int]


@dataclass
class PlayedClassifier:
    """Everything is positive."""

    manifest: ClassifierManifest = CLASSIFIER
    info: EngineInfo = field(default_factory=lambda: engine_info("played-classifier"))

    async def classify(
        self, texts: Sequence[str], *, deadline: float, stages: Any, long: str = "refuse"
    ) -> list[Any]:
        check_window([len(text.split()) for text in texts], long)
        probabilities = {"positive": 0.7, "negative": 0.1, "neutral": 0.2}
        scores = {"positive": 4.0, "negative": -2.0, "neutral": 1.5}
        return [
            SimpleNamespace(label="positive", probabilities=probabilities, scores=scores)
            for _ in texts
        ]


def check_window(tokens: Sequence[int], long: str) -> None:
    if long == "refuse" and max(tokens) > WINDOW:
        raise ContextLengthExceeded(f"A text has {max(tokens)} tokens, at most {WINDOW}.")


class PlayedTexts:
    """The three facades by name."""

    def __init__(self) -> None:
        self.slots = PlayedSlots()
        self.embedding = PlayedEmbedder()
        self.classification = PlayedClassifier()
        self.leases = 0

    def embedder(self, name: str | None = None) -> Any:
        return self._lease(name or "played-embedder", self.embedding)

    def classifier(self, name: str | None = None) -> Any:
        return self._lease(name or "played-classifier", self.classification)

    def generator(self, name: str | None = None) -> Any:
        return self._lease(name or "played-chat", self.slots)

    @asynccontextmanager
    async def _lease(self, name: str, served: Any) -> AsyncIterator[Any]:
        names = {"played-embedder": self.embedding, "played-classifier": self.classification,
                 "played-chat": self.slots}  # fmt: skip
        if name not in names:
            raise ModelNotFound(f"There is no model '{name}'.")
        if names[name] is not served:
            raise WrongTask(f"'{name}' does something else.")
        self.leases += 1
        try:
            yield served
        finally:
            self.leases -= 1


class PlayedNode:
    """What the endpoints use of a node."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.metrics = Metrics()
        self.traffic = Traffic()
        self.stage_timers = {name: self.metrics.stage_duration.labels(name) for name in ORDER}
        self.host_rules = host_rules("127.0.0.1", [])
        self.is_open = True
        self.keys: Any = None
        self.texts = PlayedTexts()


@dataclass
class Served:
    """The node behind a socket."""

    node: PlayedNode
    server: uvicorn.Server
    http: httpx.Client
    port: int

    def events(self, path: str, body: dict[str, Any]) -> list[Any]:
        """The events of a streamed answer, decoded; `[DONE]` as it stands."""
        answer = self.http.post(path, json={**body, "stream": True})
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
        lines = [line for line in answer.text.split("\n\n") if line]
        assert all(line.startswith("data: ") for line in lines)
        found = [line.removeprefix("data: ") for line in lines]
        return [one if one == "[DONE]" else json.loads(one) for one in found]


@contextmanager
def serving(node: PlayedNode, *, drain_s: int = 5) -> Iterator[Served]:
    """Serve from a thread, with the server's own configuration."""
    config = _server(node).config  # type: ignore[arg-type]
    config.host, config.port, config.timeout_graceful_shutdown = "127.0.0.1", 0, drain_s
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as http:
            yield Served(node, server, http, port)
    finally:
        server.should_exit = True
        thread.join()


def eventually(condition: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.005)
