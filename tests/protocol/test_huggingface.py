"""`huggingface_hub.InferenceClient`, unmodified, embeds, classifies and chats on the node."""

from __future__ import annotations

from typing import Any

import pytest

from running_node import RunningNode

hub = pytest.importorskip("huggingface_hub", reason="Needs it: pip install huggingface_hub")

CHAT = "smollm2-135m-instruct"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be asked of Hugging Face's own servers."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def test_features_are_extracted_from_a_text_or_several(text_node: RunningNode) -> None:
    client = hub.InferenceClient(model=f"{text_node.url}/embed")
    one = client.feature_extraction("hello world")
    assert (one.shape, str(one.dtype)) == ((1, 384), "float32")
    two = client.feature_extraction(["hello world", "goodbye"], normalize=True)
    assert two.shape == (2, 384)
    assert abs(two[0] - one[0]).max() < 1e-3


def test_a_long_text_is_cut_only_where_asked(text_node: RunningNode) -> None:
    client = hub.InferenceClient(model=f"{text_node.url}/embed")
    text = "word " * 600
    assert client.feature_extraction(text, truncate=True).shape == (1, 384)
    with pytest.raises(hub.errors.HfHubHTTPError) as raised:
        client.feature_extraction(text)
    assert raised.value.response.status_code == 413
    assert "256 tokens" in raised.value.response.json()["error"]


def test_a_text_is_classified_the_likeliest_first(text_node: RunningNode) -> None:
    client = hub.InferenceClient(model=f"{text_node.url}/predict")
    found = client.text_classification("What a wonderful, delightful film, I loved it!")
    assert found[0].label == "positive"
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert abs(sum(one.score for one in found) - 1) < 1e-6
    (likeliest,) = client.text_classification("A dreadful, boring waste of time.", top_k=1)
    assert likeliest.label == "negative"


def test_a_chat_is_answered_whole_and_streamed(text_node: RunningNode) -> None:
    client = hub.InferenceClient(base_url=f"{text_node.url}/v1")
    asked: dict[str, Any] = {
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "model": CHAT, "max_tokens": 20, "temperature": 0,
    }  # fmt: skip
    whole = client.chat_completion(**asked).choices[0].message.content
    assert "Paris" in whole
    pieces = [chunk.choices[0].delta.content or ""
              for chunk in client.chat_completion(**asked, stream=True)]  # fmt: skip
    assert "".join(pieces) == whole


def test_info_is_what_that_server_tells(text_node: RunningNode) -> None:
    with text_node.client() as http:
        info = http.get("/info").json()
    assert info["model_id"] == "all-minilm-l6-v2"
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["max_input_length"] == 256
