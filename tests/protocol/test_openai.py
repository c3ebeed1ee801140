"""The official `openai` client lists the node's models."""

from __future__ import annotations

from typing import Any

import pytest

openai = pytest.importorskip("openai", reason="Needs the openai client: pip install openai")


@pytest.fixture
def client(node: Any) -> Any:
    return openai.OpenAI(base_url=f"{node.url}/v1", api_key="none", max_retries=0)


def test_the_models_are_listed_in_openais_shape(client: Any) -> None:
    models = list(client.models.list())
    assert "efficientnet-lite2" in [model.id for model in models]
    for model in models:
        assert model.object == "model"
        assert model.created > 1_500_000_000
        assert model.owned_by


def test_one_model_is_retrieved_and_an_unknown_one_is_not_found(client: Any) -> None:
    assert client.models.retrieve("efficientnet-lite2").id == "efficientnet-lite2"
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("gpt-9")
    assert "gpt-9" in str(raised.value)
    assert raised.value.body["code"] == "model_not_found"


def test_a_key_is_asked_for_and_taken_as_openais_is(fast_node: Any) -> None:
    node = fast_node()
    with node.client() as http:
        made = http.post("/api/keys", json={"name": "till", "scope": "read"}).json()
    url = f"{node.url}/v1"
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=url, api_key="sk_wrong", max_retries=0).models.list()
    client = openai.OpenAI(base_url=url, api_key=made["secret"], max_retries=0)
    assert [model.id for model in client.models.list()] == ["fast"]
