"""The ASGI application: routes, the check of the Host, and the answer to unknown paths."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Mapping

from starlette.requests import Request
from starlette.routing import BaseRoute, Router
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from skerry.api import openai, ops, tei
from skerry.api.console.routes import ROUTES as CONSOLE_ROUTES
from skerry.api.contract import Exchange, Route
from skerry.api.endpoint import Endpoint, request_id, send_answer
from skerry.api.faults import clean, error_answer
from skerry.api.intake import Intake
from skerry.api.native import (
    ask,
    classify,
    documents,
    generate,
    images,
    jobs,
    keys,
    models,
    recognize,
    search,
    status,
)
from skerry.api.openapi import openapi_route
from skerry.auth.hosts import check_host
from skerry.errors import NotFound, SkerryError
from skerry.node.node import Node


def routes() -> list[Route]:
    """Every route of the node, as the reference lists them."""
    spoken = [
        *recognize.ROUTES,
        *images.ROUTES,
        *documents.ROUTES,
        *search.ROUTES,
        *ask.ROUTES,
        *ops.ROUTES,
        *status.ROUTES,
        *jobs.ROUTES,
        *models.ROUTES,
        *keys.ROUTES,
        *classify.ROUTES,
        *generate.ROUTES,
        *openai.ROUTES,
        *tei.ROUTES,
        *CONSOLE_ROUTES,
    ]
    return [*spoken, openapi_route(spoken)]


def make_app(node: Node) -> ASGIApp:
    """The application over an opened node."""
    by_path: dict[str, list[Route]] = defaultdict(list)
    for route in routes():
        by_path[route.path].append(route)
    intake = Intake(limit_bytes=node.settings.limits.max_held_bytes)
    endpoints = {path: Endpoint(node, group, intake=intake) for path, group in by_path.items()}
    exact = {path: endpoint for path, endpoint in endpoints.items() if "{" not in path}
    open_ended = {
        path.partition("{")[0]: endpoint.methods
        for path, endpoint in endpoints.items()
        if path.endswith(":path}")
    }
    table: list[BaseRoute] = [
        StarletteRoute(path, endpoint, methods=None)
        for path, endpoint in endpoints.items()
        if path not in exact
    ]
    # The bare router: each endpoint turns its own errors into answers.
    patterns = Router(routes=table, redirect_slashes=False, default=UnknownPath(node))
    return HostCheck(Paths(exact, otherwise=patterns, open_ended=open_ended), node)


class Paths:
    """Finds the endpoint: most paths have no parameters, and are looked up, not matched."""

    def __init__(
        self,
        exact: Mapping[str, Endpoint],
        *,
        otherwise: ASGIApp,
        open_ended: Mapping[str, frozenset[str]],
    ) -> None:
        self._exact = exact
        self._otherwise = otherwise
        # A name of the user's own may spell such a path: a document with the id "delete".
        self._shared = {
            (path, method)
            for path, endpoint in exact.items()
            for start, methods in open_ended.items()
            for method in methods - endpoint.methods
            if path.startswith(start)
        }

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass the request on."""
        path = scope.get("path", "")
        app = self._exact.get(path, self._otherwise)
        if (path, scope.get("method")) in self._shared:
            app = self._otherwise
        return app(scope, receive, send)


class HostCheck:
    """Refuses a foreign Host before anything else is looked at (DNS rebinding)."""

    def __init__(self, app: ASGIApp, node: Node) -> None:
        self._app = app
        self._node = node
        # Nearly all requests name the same host: it is not looked at again.
        self._accepted = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http":
            host = next((v for k, v in scope["headers"] if k == b"host"), b"")
            if host != self._accepted or not host:
                try:
                    check_host(host.decode("latin-1"), self._node.host_rules)
                except SkerryError as error:
                    await _refuse(self._node, scope, receive, send, error)
                    return
                self._accepted = host
        await self._app(scope, receive, send)


class UnknownPath:
    """404 in the node's own shape."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 404."""
        if scope["type"] != "http":
            return
        path = clean(Request(scope).url.path)[:200]
        error = NotFound(f"Nothing at {path}.", remedy="See /openapi.json for what there is.")
        await _refuse(self._node, scope, receive, send, error)


async def _refuse(
    node: Node, scope: Scope, receive: Receive, send: Send, error: SkerryError
) -> None:
    headers = dict(scope["headers"])
    exchange = Exchange(
        node=node, scope=scope, receive=receive, headers=headers,
        request_id=request_id(headers), deadline=0.0, intake=Intake(limit_bytes=0),
    )  # fmt: skip
    node.metrics.requests.labels("unmatched", "any", str(error.status)).inc()
    await send_answer(error_answer(error, exchange.request_id), exchange, send)
