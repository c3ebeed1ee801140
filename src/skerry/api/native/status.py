"""`GET /api/status`: the node at a glance, for people and the console."""

from __future__ import annotations

import msgspec

from skerry import __version__
from skerry.api.contract import Answer, Exchange, Route, json_answer
from skerry.index.base import IndexState
from skerry.metrics import TrafficSummary
from skerry.pipelines.status import (
    DataStatus,
    DocumentStatus,
    EngineStatus,
    GenerationStatus,
    ModelStatus,
    PartState,
)


class CacheStatus(msgspec.Struct):
    """The feature cache since the start."""

    type: str
    hits: int
    misses: int
    shared: int
    hit_rate: float


class StatusAnswer(msgspec.Struct):
    """Answer of `GET /api/status`."""

    name: str
    version: str
    url: str
    started_at: int
    uptime_s: float
    ready: bool
    open: bool
    parts: dict[str, PartState]
    models: list[ModelStatus]
    images: int
    index: IndexState
    documents: DocumentStatus
    cache: CacheStatus
    traffic: TrafficSummary
    engine: EngineStatus
    generation: GenerationStatus | None
    data: DataStatus


async def status(exchange: Exchange) -> Answer:
    """Everything an operator looks at first."""
    node, board = exchange.node, exchange.node.board
    parts = board.parts()
    return json_answer(
        StatusAnswer(
            name="skerry",
            version=__version__,
            url=node.url,
            started_at=board.started_at,
            uptime_s=board.uptime_s(),
            ready=board.ready(),
            open=node.is_open,
            parts=parts,
            models=board.models(),
            images=await board.images(),
            index=board.index(),
            documents=await board.documents(),
            cache=_cache(exchange),
            traffic=node.traffic.summary(),
            engine=board.engine(),
            generation=board.generation(),
            data=board.data(),
        )
    )


def _cache(exchange: Exchange) -> CacheStatus:
    counts = exchange.node.board.cache_counts()
    looked_up = sum(counts.values())
    return CacheStatus(
        type=exchange.node.settings.cache.type,
        hits=counts["hit"],
        misses=counts["miss"],
        shared=counts["shared"],
        hit_rate=round(counts["hit"] / looked_up, 4) if looked_up else 0.0,
    )


ROUTES = [
    Route("GET", "/api/status", "read", status, "The node at a glance.",
          answers={200: StatusAnswer}),
]  # fmt: skip
