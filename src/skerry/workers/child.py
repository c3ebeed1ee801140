"""A worker's own end: blocking calls in, answers out, gone when its node is gone."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import sys
from collections import deque

from skerry.errors import SkerryError
from skerry.workers.frames import ANSWER, ERROR, HEADER, PART, Frame, Splitter, encode_error

PR_SET_PDEATHSIG = 1
READ_BYTES = 1 << 18


class Channel:
    """The socket to the node. After `closed` is set nothing more arrives."""

    def __init__(self, connection: socket.socket) -> None:
        self.closed = False
        self._socket = connection
        self._splitter = Splitter()
        self._frames: deque[Frame] = deque()

    def receive(self, *, wait: bool) -> Frame | None:
        """The next call; None when none stands ready and `wait` is false, or at the end.

        A frame of kind CANCEL carries the id of a call whose caller has gone: only calls made
        by `Worker.stream` are cancelled, and they too end with `answer` or `fail`.
        """
        while not self._frames and not self.closed:
            if not wait and not select.select([self._socket], [], [], 0)[0]:
                return None
            self._read()
        return self._frames.popleft() if self._frames else None

    def answer(self, call_id: int, body: bytes) -> None:
        """Answer the call."""
        self._send(HEADER.pack(len(body), call_id, ANSWER) + body)

    def part(self, call_id: int, body: bytes) -> None:
        """Send a piece of the call's answer; an empty one only says that work goes on."""
        self._send(HEADER.pack(len(body), call_id, PART) + body)

    def fail(self, call_id: int, error: SkerryError) -> None:
        """Answer the call with an error, raised where the call was made."""
        body = encode_error(error)
        self._send(HEADER.pack(len(body), call_id, ERROR) + body)

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except ConnectionError:
            data = b""
        if data:
            self._frames.extend(self._splitter.feed(data))
        else:
            self.closed = True

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except ConnectionError:
            self.closed = True


def open_channel() -> Channel:
    """The channel a node gave this process as its standard input.

    Signals that end the node are ignored here: a service manager and Ctrl-C reach the whole
    group, and the node, once told, ends its workers in order by closing their channel.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    return Channel(socket.socket(fileno=os.dup(sys.stdin.fileno())))


def _die_with_parent() -> None:
    # The end of the channel says the same, but is not seen in the middle of a long call.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
