"""A node whose settings give it no text models says so, and how to set one."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from calls import refused

CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
ASKED: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/embeddings", {"input": "a text", "model": "off"}, "embedding"),
    ("/embed", {"inputs": "a text"}, "embedding"),
    ("/api/documents", {"id": "a", "text": "A text."}, "embedding"),
    ("/api/classify", {"text": "a text"}, "classifier"),
    ("/predict", {"inputs": "a text"}, "classifier"),
    ("/v1/chat/completions", CHAT | {"model": "off"}, "chat"),
    ("/generate", {"prompt": "Hello"}, "chat"),
]


@pytest.mark.parametrize(("path", "body", "setting"), ASKED)
def test_a_task_without_a_model_names_the_setting(
    client: httpx.Client, path: str, body: dict[str, Any], setting: str
) -> None:
    error = refused(client.post(path, json=body), 422)
    assert error["code"] == "task_off"
    assert f'models.{setting} is "off"' in error["message"]
    assert f"Set models.{setting} in skerry.toml" in error["remedy"]


def test_keyword_search_needs_no_embedding_model(client: httpx.Client) -> None:
    answer = client.post("/api/search", json={"query": "anything", "mode": "keyword"})
    assert answer.status_code == 200
    assert answer.json()["results"] == []
