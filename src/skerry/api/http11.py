"""uvicorn's HTTP/1.1 with what it lacks: a deadline for headers and a cap on their size."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADERS_S = 10.0
MAX_HEADER_BYTES = 32_768


class BoundedHttp(HttpToolsProtocol):
    """Closes connections whose headers take longer than 10 s or pass 32 KiB (slow loris).

    An idle keep-alive connection is uvicorn's own business (`timeout_keep_alive`).
    """

    _deadline: asyncio.TimerHandle | None = None
    _header_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Start the clock for the first request's headers."""
        super().connection_made(transport)
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
        if self._deadline is not None and self._header_bytes > MAX_HEADER_BYTES:
            self._reject(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """A request begins on this connection."""
        super().on_message_begin()
        if self._deadline is None:
            self._await_headers()

    def on_headers_complete(self) -> None:
        """The headers are here: the body has its own bounds."""
        self._disarm()
        size = sum(len(name) + len(value) for name, value in self.headers) + len(self.url)
        if size > MAX_HEADER_BYTES:
            self._reject(b"431 Request Header Fields Too Large")
            raise ValueError("request header fields too large")
        super().on_headers_complete()

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
