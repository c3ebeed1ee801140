"""A node whose vectors lie on a Qdrant server: it outlasts the server, and fills it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from calls import refused
from test_recovery import eventually, parts

from qdrant_stand_in import StandIn
from running_node import NO_TEXT_MODELS, RunningNode, start_node, wait_for_texts

KEY = "a-very-secret-key"
TEXTS = {
    "seals": "The harbour seal sleeps on the rocks at low tide.",
    "bread": "A bakery sells warm bread before sunrise.",
    "comets": "A comet's tail always points away from the sun.",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StandIn]:
    server = StandIn(tmp_path / "storage", api_key=KEY)
    yield server
    server.kill()


@pytest.fixture
def start(
    text_models: Path, tmp_path: Path, server: StandIn
) -> Iterator[Callable[[], RunningNode]]:
    """Starts the node on its one data folder; it ends with the test."""
    environ = {
        "SKERRY_VECTORS_TYPE": "qdrant",
        "SKERRY_VECTORS_URL": server.url,
        "SKERRY_VECTORS_API_KEY": KEY,
        "SKERRY_VECTORS_CHECK_S": "0.2",
        "SKERRY_LOG_LEVEL": "debug",
    }
    started: list[RunningNode] = []

    def start() -> RunningNode:
        texts = dict.fromkeys(NO_TEXT_MODELS, "")
        node = start_node(
            tmp_path / "data", models=text_models, environ={**texts, **environ}, ready=False
        )
        started.append(node)
        wait_for_texts(node)
        return node

    yield start
    for node in started:
        node.kill()


@pytest.mark.parametrize("url", ["", "qdrant:6333"])
def test_node_does_not_start_with_an_address_that_is_none(
    fast_node: Callable[..., RunningNode], url: str
) -> None:
    environ = {"SKERRY_VECTORS_TYPE": "qdrant", "SKERRY_VECTORS_URL": url}
    with pytest.raises(AssertionError, match=r"ended with 2") as failed:
        fast_node(environ=environ)
    assert 'url = "http://qdrant:6333"' in str(failed.value)
    assert "Traceback" not in str(failed.value)


def add(client: httpx.Client, *names: str) -> None:
    body = [{"id": name, "text": TEXTS[name]} for name in names]
    answer = client.post("/api/documents", json=body)
    assert answer.status_code == 201, answer.text


def search(client: httpx.Client, query: str, mode: str = "dense") -> httpx.Response:
    return client.post("/api/search", json={"query": query, "mode": mode, "limit": 1})


def finds_all(client: httpx.Client, *names: str) -> bool:
    answers = [search(client, TEXTS[name]) for name in names]
    return all(answer.status_code == 200 for answer in answers) and [
        answer.json()["results"][0]["id"] for answer in answers
    ] == [*names]


def test_killed_and_emptied_server_is_filled_again_by_the_running_node(
    start: Callable[[], RunningNode], server: StandIn
) -> None:
    node = start()
    with node.client() as client:
        add(client, "seals", "bread")
        assert finds_all(client, "seals", "bread")
        assert len([name for name in server.collections() if "documents" in name]) == 1
        server.kill()
        part = eventually(
            lambda: (part := parts(client)["documents"])["state"] == "failed" and part,
            "the node does not notice that the server is gone",
        )
        assert server.url.removeprefix("http://") in part["reason"]
        error = refused(search(client, "a seal"), 503)
        assert (error["code"], "url" in error["remedy"]) == ("index_unavailable", True)
        add(client, "comets")
        assert search(client, "comet's tail", "keyword").json()["results"][0]["id"] == "comets"
        server.empty()
        server.start()
        eventually(lambda: finds_all(client, *TEXTS), "the server is not filled again")
        assert client.delete("/api/documents/bread").status_code == 204
        assert search(client, TEXTS["bread"]).json()["results"][0]["id"] != "bread"
    assert KEY not in node.log.read_text()


def test_node_starts_without_its_server_and_catches_up_when_it_comes(
    start: Callable[[], RunningNode], server: StandIn
) -> None:
    node = start()
    with node.client() as client:
        add(client, "seals", "bread")
        assert finds_all(client, "seals", "bread")
    node.stop()
    server.kill()
    with start().client() as client:
        assert client.get("/readyz").status_code == 503
        assert parts(client)["documents"]["state"] == "failed"
        add(client, "comets")
        server.start()
        eventually(lambda: finds_all(client, *TEXTS), "the index does not catch up")
        eventually(lambda: client.get("/readyz").status_code == 200, "the node is not ready")
