"""A streamed answer ends with its client, fails in its own shape, and frees what it held."""

from __future__ import annotations

import json
import socket
from threading import Thread
from typing import Any

import pytest
from played_node import HELLO, PlayedNode, Served, eventually, serving

from skerry.errors import ModelUnavailable, Overloaded
from skerry.generation.base import Delta

MESSAGES = [{"role": "user", "content": "Hi"}]


def send(served: Served, path: str, body: dict[str, Any]) -> socket.socket:
    wire = socket.create_connection(("127.0.0.1", served.port), timeout=10)
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    wire.sendall(head.encode() + data)
    return wire


def read_until(wire: socket.socket, wanted: bytes) -> bytes:
    received = b""
    while wanted not in received:
        chunk = wire.recv(65536)
        assert chunk, received
        received += chunk
    return received


def test_a_client_that_leaves_a_silent_stream_frees_its_slot(served: Served) -> None:
    served.node.texts.slots.script = [Delta(text="Hel"), None]
    wire = send(served, "/v1/chat/completions", {"messages": MESSAGES, "stream": True})
    read_until(wire, b"Hel")
    assert (served.node.texts.slots.active, served.node.texts.leases) == (1, 1)
    wire.close()
    eventually(lambda: served.node.texts.slots.active == 0)
    eventually(lambda: served.node.texts.leases == 0)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/chat/completions", {"messages": MESSAGES}), ("/v1/completions", {"prompt": "Once"})],
)
def test_a_client_that_leaves_before_the_first_word_frees_its_slot(
    served: Served, path: str, body: dict[str, Any], stream: bool
) -> None:
    served.node.texts.slots.script = [None]
    wire = send(served, path, {**body, "stream": stream})
    eventually(lambda: served.node.texts.slots.active == 1)
    wire.close()
    eventually(lambda: served.node.texts.slots.active == 0)
    eventually(lambda: served.node.texts.leases == 0)


def test_a_client_that_leaves_ends_all_of_its_choices(served: Served) -> None:
    served.node.texts.slots.script = [Delta(text="Hel"), None]
    wire = send(served, "/v1/chat/completions", {"messages": MESSAGES, "stream": True, "n": 2})
    eventually(lambda: served.node.texts.slots.active == 2)
    wire.close()
    eventually(lambda: served.node.texts.slots.active == 0)


def test_the_guides_path_frees_its_slot_too(served: Served) -> None:
    served.node.texts.slots.script = [None]
    wire = send(served, "/generate", {"prompt": "Once"})
    eventually(lambda: served.node.texts.slots.active == 1)
    wire.close()
    eventually(lambda: served.node.texts.slots.active == 0)


def test_a_client_that_leaves_is_counted_and_not_logged_as_a_failure(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    labels = {"route": "/v1/completions", "method": "POST", "status": "499"}
    value = served.node.metrics.registry.get_sample_value
    before = value("requests_total", labels) or 0.0
    served.node.texts.slots.script = [Delta(text="Hel"), None]
    wire = send(served, "/v1/completions", {"prompt": "Once", "stream": True})
    read_until(wire, b"Hel")
    wire.close()
    eventually(lambda: value("requests_total", labels) == before + 1)
    assert "Traceback" not in caplog.text


def test_an_error_before_the_first_event_is_an_error_with_its_status(served: Served) -> None:
    served.node.texts.slots.script = [Overloaded("The queue is full.", retry_after_s=2.5)]
    answer = served.http.post("/v1/chat/completions", json={"messages": MESSAGES, "stream": True})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    assert answer.json()["error"]["code"] == "overloaded"
    assert answer.headers["content-type"] == "application/json"


def test_an_error_after_the_first_event_ends_the_stream_with_an_event(served: Served) -> None:
    served.node.texts.slots.script = [Delta(text="Hel"), ModelUnavailable("The worker ended.")]
    events = served.events("/v1/chat/completions", {"messages": MESSAGES})
    assert events[-1]["error"]["message"] == "The worker ended."
    assert events[-1]["error"]["type"] == "server_error"
    assert "[DONE]" not in events
    assert (served.node.texts.slots.active, served.node.texts.leases) == (0, 0)
    counted = served.node.metrics.registry.get_sample_value(
        "skerry_errors_total", {"route": "/v1/chat/completions", "code": "model_unavailable"}
    )
    assert counted == 1.0


@pytest.mark.parametrize("broken", [RuntimeError("secret"), OSError("secret")])
def test_a_bug_after_the_first_event_is_told_without_its_details(
    served: Served, broken: Exception
) -> None:
    served.node.texts.slots.script = [Delta(text="Hel"), broken]
    events = served.events("/v1/completions", {"prompt": "Once"})
    assert events[-1]["error"]["code"] == "internal"
    assert "secret" not in json.dumps(events)


def test_a_stream_that_outlasts_the_drain_is_told_and_freed() -> None:
    node = PlayedNode()
    node.texts.slots.script = [Delta(text="Hel"), None]
    with serving(node, drain_s=1) as served:
        wire = send(served, "/v1/completions", {"prompt": "Once", "stream": True})
        read_until(wire, b"Hel")
        served.server.should_exit = True
        assert b'"code":"unavailable"' in read_until(wire, b"0\r\n\r\n")
        wire.close()
    assert (node.texts.slots.active, node.texts.leases) == (0, 0)


def test_a_stream_that_ends_within_the_drain_is_whole() -> None:
    node = PlayedNode()
    node.texts.slots.script = [Delta(text="x")] * 2000 + list(HELLO)
    with serving(node) as served:
        wire = send(served, "/v1/completions", {"prompt": "Once", "stream": True})
        received = read_until(wire, b'"x"')
        stopping = Thread(target=lambda: setattr(served.server, "should_exit", True))
        stopping.start()
        assert b"data: [DONE]" in received + read_until(wire, b"0\r\n\r\n")
        wire.close()


def test_a_generation_beyond_its_deadline_is_told_so() -> None:
    node = PlayedNode()
    node.settings.limits.deadline_s = node.settings.generation.deadline_s = 0.05
    node.texts.slots.script = [Delta(text="Hel"), None]
    with serving(node) as served:
        events = served.events("/v1/completions", {"prompt": "Once"})
        assert events[-1]["error"]["code"] == "deadline_exceeded"
        answer = served.http.post("/generate", json={"prompt": "Once"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert node.texts.slots.active == 0
