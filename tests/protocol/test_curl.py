"""`curl` reads what a program without a library would: JSON, and server-sent events."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from running_node import RunningNode

CHAT = "smollm2-135m-instruct"
pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="Needs curl")


def curl(node: RunningNode, path: str, body: dict[str, Any], *options: str) -> str:
    command = [
        "curl", "-sS", "--fail-with-body", *options, node.url + path,
        "-H", "Content-Type: application/json", "-d", json.dumps(body),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_stream_comes_as_server_sent_events(text_node: RunningNode) -> None:
    body = {"messages": [{"role": "user", "content": "What is the capital of France?"}],
            "max_tokens": 20, "temperature": 0, "stream": True}  # fmt: skip
    received = curl(text_node, "/v1/chat/completions", body, "-N", "-i")
    head, _, stream = received.partition("\n\n")
    assert "content-type: text/event-stream" in head
    assert "transfer-encoding: chunked" in head
    *events, last = stream.rstrip("\n").split("\n\n")
    assert last == "data: [DONE]"
    texts = [json.loads(event.removeprefix("data: "))["choices"][0]["delta"].get("content", "")
             for event in events]  # fmt: skip
    assert "Paris" in "".join(texts)


def test_the_guides_request_gets_the_guides_answer(text_node: RunningNode) -> None:
    answer = json.loads(curl(text_node, "/generate", {"prompt": "Once upon", "max_tokens": 5}))
    assert set(answer) == {"generated_text", "latency_ms"}
    assert answer["generated_text"].startswith("Once upon")
    assert type(answer["latency_ms"]) is int
    again = json.loads(curl(text_node, "/generate", {"prompt": "Once upon", "max_tokens": 5}))
    assert again["generated_text"] == answer["generated_text"]


def test_texts_are_classified_with_probabilities(text_node: RunningNode) -> None:
    answer = json.loads(curl(text_node, "/api/classify", {"texts": ["I love it.", "I hate it."]}))
    assert [one["label"] for one in answer["results"]] == ["positive", "negative"]
    for one in answer["results"]:
        assert abs(sum(one["probabilities"].values()) - 1) < 1e-6
