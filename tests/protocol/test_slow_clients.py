"""Clients that send slowly, or stop, do not hold the node: their time is bounded."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx

from pictures import jpeg, png
from running_node import RunningNode
from skerry.api.bodies import IDLE_S
from skerry.api.http11 import HEADERS_S

POST = b"POST /api/recognize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"


def connect(node: Any) -> socket.socket:
    address = urlsplit(node.url)
    return socket.create_connection((address.hostname, address.port), timeout=60)


def read_to_the_end(wire: socket.socket) -> bytes:
    received = b""
    while chunk := wire.recv(65536):
        received += chunk
    return received


def header_by_header(node: Any) -> tuple[bytes, float]:
    """Slow loris: always another header, never the last."""
    began = time.monotonic()
    with connect(node) as wire:
        wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        wire.settimeout(0.5)
        for number in range(1000):
            try:
                wire.sendall(b"X-%d: y\r\n" % number)
                if received := wire.recv(65536):
                    return received, time.monotonic() - began
            except TimeoutError:
                continue
            except ConnectionError:
                break
            break
    return b"", time.monotonic() - began


def nothing_at_all(node: Any) -> tuple[bytes, float]:
    """A connection on which no request begins."""
    began = time.monotonic()
    with connect(node) as wire:
        return read_to_the_end(wire), time.monotonic() - began


def half_a_body(node: Any) -> tuple[bytes, float]:
    """A body that stops arriving."""
    began = time.monotonic()
    with connect(node) as wire:
        wire.sendall(POST + jpeg()[:200])
        return read_to_the_end(wire), time.monotonic() - began


def test_stalled_clients_are_let_go_while_others_are_served(node: Any) -> None:
    with ThreadPoolExecutor(60) as pool:
        loris = [pool.submit(header_by_header, node) for _ in range(5)]
        silent = [pool.submit(nothing_at_all, node) for _ in range(20)]
        stalled = [pool.submit(half_a_body, node) for _ in range(20)]
        with node.client() as client:
            for _ in range(10):
                assert client.post("/api/recognize", content=jpeg()).status_code == 200
                time.sleep(0.2)
        for waiting in (*loris, *silent):
            received, took_s = waiting.result()
            assert received == b"" or received.startswith(b"HTTP/1.1 408")
            assert HEADERS_S - 1 < took_s < HEADERS_S + 10
        for waiting in stalled:
            received, took_s = waiting.result()
            assert received.startswith(b"HTTP/1.1 408")
            assert b'"code":"body_incomplete"' in received
            assert IDLE_S - 1 < took_s < IDLE_S + 10


def test_a_keep_alive_connection_serves_many_requests(node: Any) -> None:
    with node.client(limits=httpx.Limits(max_connections=1)) as client:
        for _ in range(50):
            assert client.get("/healthz").status_code == 200


def test_a_refusal_before_the_body_ends_the_connection_and_not_the_node(node: Any) -> None:
    head = b"POST /api/recognize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
    for _ in range(10):
        with connect(node) as wire:
            wire.sendall(head)
            assert wire.recv(65536).startswith(b"HTTP/1.1 413")
    with node.client() as client:
        assert client.get("/healthz").status_code == 200


def test_idle_connections_cannot_take_the_files_the_stores_need(
    fast_node: Callable[..., RunningNode],
) -> None:
    node = fast_node()
    resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (256, 256))
    with contextlib.ExitStack() as wires, node.client() as early:
        assert early.get("/healthz").status_code == 200
        for _ in range(300):
            wires.enter_context(connect(node))
        for _ in range(10):
            assert early.post("/api/images", content=png()).status_code == 201
        with node.client() as late:
            answer = late.get("/healthz")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        end = time.monotonic() + HEADERS_S + 20
        while not reached(node):
            assert time.monotonic() < end, "the idle connections are never let go"
            time.sleep(0.2)


def reached(node: RunningNode) -> bool:
    with node.client() as client:
        return client.get("/healthz").status_code == 200
