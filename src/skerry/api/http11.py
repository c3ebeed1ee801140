"""uvicorn's HTTP/1.1 with what it lacks: bounds on connections, and on headers and their time."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADERS_S = 10.0
MAX_HEADER_BYTES = 32_768


MOST_OPEN_FILES = 65_536


def raise_open_files() -> None:
    """Take as many open files as the system grants: its default of 1024 is soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS grants less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def max_connections() -> int:
    """Half of the files this process may open: the stores need the others."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_OPEN_FILES if soft == resource.RLIM_INFINITY else soft // 2


class BoundedHttp(HttpToolsProtocol):
    """Closes connections whose headers take longer than 10 s or pass 32 KiB (slow loris).

    Beyond `max_connections()` a new one is answered 503 at once.

    An idle keep-alive connection is uvicorn's own business (`timeout_keep_alive`).
    """

    _deadline: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_headers = False

    def connection_made(self, transport: Any) -> None:
        """Start the clock for the first request's headers."""
        super().connection_made(transport)
        if len(self.connections) > max_connections():
            self._reject(b"503 Service Unavailable\r\nretry-after: 1")
            return
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count header bytes until they are complete."""
        if self.transport.is_closing():
            return
        if self._deadline is not None:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._deadline is None:
            # Most headers come whole, and need no clock.
            self._await_headers()
        if self._deadline is not None and self._header_bytes > MAX_HEADER_BYTES:
            self._reject(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """A request begins on this connection."""
        super().on_message_begin()
        self._in_headers = True

    def on_headers_complete(self) -> None:
        """The headers are here: the body has its own bounds."""
        self._in_headers = False
        self._disarm()
        size = sum(len(name) + len(value) for name, value in self.headers) + len(self.url)
        if size > MAX_HEADER_BYTES:
            self._reject(b"431 Request Header Fields Too Large")
            raise ValueError("request header fields too large")
        super().on_headers_complete()
        # As bytes, unlike uvicorn's bytearray, a body that comes in one piece is not copied: not
        # when it is added to nothing, and not when it is received.
        self.cycle.body = b""  # type: ignore[assignment]

    def _await_headers(self) -> None:
        self._disarm()
        self._header_bytes = 0
        self._deadline = self.loop.call_later(HEADERS_S, self._reject, b"408 Request Timeout")

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _reject(self, status: bytes) -> None:
        self._disarm()
        if not self.transport.is_closing():
            head = b"HTTP/1.1 " + status
            self.transport.write(head + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()
