"""`POST /api/classify` and the guide's `POST /generate`."""

from __future__ import annotations

from typing import Any

import pytest
from played_node import WINDOW, Served

from skerry.api.text_bodies import MAX_TEXTS

LONG = " ".join(["word"] * (WINDOW + 1))


def test_one_text_or_several_are_classified(served: Served) -> None:
    answer = served.http.post("/api/classify", json={"text": "fine"})
    assert answer.status_code == 200
    found = answer.json()
    probabilities = {"positive": 0.7, "negative": 0.1, "neutral": 0.2}
    assert found["results"] == [{"label": "positive", "probabilities": probabilities}]
    assert list(found["results"][0]["probabilities"]) == ["positive", "negative", "neutral"]
    assert found["model"]["name"] == "played-classifier"
    assert found["request_id"] == answer.headers["x-request-id"]
    assert "total;dur=" in answer.headers["server-timing"]
    answer = served.http.post("/api/classify", json={"texts": ["a"] * MAX_TEXTS})
    assert len(answer.json()["results"]) == MAX_TEXTS


def test_a_long_text_is_refused_unless_asked_otherwise(served: Served) -> None:
    answer = served.http.post("/api/classify", json={"text": LONG})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    answer = served.http.post("/api/classify", json={"text": LONG, "long": "split"})
    assert answer.status_code == 200


def test_the_guides_generation_gives_prompt_and_continuation(served: Served) -> None:
    answer = served.http.post("/generate", json={"prompt": "Well, "})
    assert answer.status_code == 200
    found = answer.json()
    assert set(found) == {"generated_text", "latency_ms"}
    assert found["generated_text"] == "Well, Hello"
    assert type(found["latency_ms"]) is int
    (request,) = served.node.texts.slots.asked
    assert request.prompt == "Well, "
    assert (request.sampling.max_tokens, request.sampling.temperature) == (50, 0.0)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/api/classify", {}, 400, "bad_request"),
        ("/api/classify", {"text": "a", "texts": ["b"]}, 400, "bad_request"),
        ("/api/classify", {"text": ""}, 400, "bad_request"),
        ("/api/classify", {"texts": []}, 400, "bad_request"),
        ("/api/classify", {"texts": ["a"] * 100_000}, 400, "bad_request"),
        ("/api/classify", {"text": "a", "nonsense": 1}, 400, "unknown_field"),
        ("/api/classify", {"text": "a", "model": "nobody"}, 404, "model_not_found"),
        ("/api/classify", {"text": "a", "model": "played-chat"}, 400, "wrong_task"),
        ("/api/classify", {"text": "x" * (10 << 20)}, 413, "payload_too_large"),
        ("/generate", {}, 400, "bad_request"),
        ("/generate", {"prompt": ""}, 400, "bad_request"),
        ("/generate", {"prompt": "a", "max_tokens": -1}, 400, "bad_request"),
        ("/generate", {"prompt": "a", "max_tokens": 10**20}, 400, "bad_request"),
        ("/generate", {"prompt": "a", "temperature": 1}, 400, "unknown_field"),
        ("/generate", {"prompt": "a", "model": "nobody"}, 404, "model_not_found"),
    ],
)
def test_what_cannot_be_served_is_refused_in_the_nodes_own_shape(
    served: Served, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    answer = served.http.post(path, json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "remedy", "request_id"}
    assert error["code"] == code
