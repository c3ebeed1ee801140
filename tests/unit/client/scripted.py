"""A real HTTP server that answers from a script: a node's ill days, which a well one hides."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    """What the server was sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """What it answers."""

    status: int = 200
    value: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None


Script = Callable[[Request], Reply]


@dataclass
class ScriptedNode:
    url: str
    requests: list[Request]


def refusal(
    status: int, code: str, message: str, *, remedy: str = "", retry_after: str | None = None
) -> Reply:
    headers = {"Retry-After": retry_after} if retry_after else {}
    error = {"code": code, "message": message, "remedy": remedy, "request_id": "r1"}
    return Reply(status, {"error": error}, headers)


@contextmanager
def serving(script: Script) -> Iterator[ScriptedNode]:
    """Answer by `script` until the block ends."""
    requests: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(length)
            request = Request(self.command, self.path, dict(self.headers), body)
            requests.append(request)
            reply = script(request)
            content = reply.raw if reply.raw is not None else json.dumps(reply.value).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            # Whoever gave up waiting has hung up.
            with suppress(BrokenPipeError):
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield ScriptedNode(f"http://127.0.0.1:{server.server_address[1]}", requests)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
