"""Health and metrics for whoever operates the node: Kubernetes probes, Prometheus."""

from __future__ import annotations

import msgspec

from skerry.api.contract import Answer, Exchange, Route, json_answer
from skerry.pipelines.status import PartState


class Health(msgspec.Struct):
    """The process lives."""

    status: str


class Readiness(msgspec.Struct):
    """Whether each part can answer, and why not."""

    ready: bool
    parts: dict[str, PartState]


async def healthz(_: Exchange) -> Answer:
    """200 while the process lives and its loop turns."""
    return json_answer(Health("ok"))


async def readyz(exchange: Exchange) -> Answer:
    """200 when models and stores answer, else 503 with each part's reason."""
    board = exchange.node.board
    parts, ready = board.parts(), board.ready()
    headers = {} if ready else {"retry-after": "1"}
    return json_answer(Readiness(ready, parts), status=200 if ready else 503, headers=headers)


async def metrics(exchange: Exchange) -> Answer:
    """All metrics in the Prometheus text format."""
    await exchange.node.board.refresh_gauges()
    return Answer(
        200, exchange.node.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )


ROUTES = [
    Route("GET", "/healthz", "public", healthz, "Is the process alive?", answers={200: Health}),
    Route("GET", "/livez", "public", healthz, "Is the process alive?", answers={200: Health}),
    Route("GET", "/readyz", "public", readyz, "Can every part answer?",
          answers={200: Readiness, 503: Readiness}),
    Route("GET", "/metrics", "read", metrics, "Prometheus metrics.",
          answers={200: "text/plain"}),
]  # fmt: skip
