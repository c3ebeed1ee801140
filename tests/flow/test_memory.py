"""A node with too little memory for two models serves both, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from calls import metric, part

from fast_model import NAME, install_fast_model
from pictures import png
from running_node import RunningNode

StartNode = Callable[..., RunningNode]
ROOM_FOR_ONE = 150 << 20
PATIENCE_S = 30.0


def recognise(client: httpx.Client, **query: Any) -> None:
    answer = client.post("/api/recognize", params=query, files=[part(png())])
    assert answer.status_code == 200, answer.text


def loaded(client: httpx.Client) -> list[str]:
    models = client.get("/api/status").json()["models"]
    assert all(bool(model["memory_bytes"]) == (model["state"] == "ready") for model in models)
    return [model["name"] for model in models if model["state"] == "ready"]


def test_models_that_do_not_fit_together_make_room_for_each_other(
    fast_node: StartNode, tmp_path: Path
) -> None:
    models = install_fast_model(tmp_path / "models")
    install_fast_model(models, name="other", seed=1)
    environ = {"SKERRY_MODELS_MEMORY_LIMIT_BYTES": str(ROOM_FOR_ONE)}
    node = fast_node(models=models, environ=environ)
    with node.client() as client:
        recognise(client)
        recognise(client, model="other", limit=0)
        assert loaded(client) == ["other"]
        # The default is not there, and the node is ready: the next photo loads it.
        assert client.get("/readyz").status_code == 200
        recognise(client)
        assert loaded(client) == [NAME]
        unloads = {"model": "other", "reason": "memory"}
        assert metric(client, "skerry_model_unloads_total", **unloads) == 1
    assert f"unloading 'other': to make room for '{NAME}'" in node.log.read_text()


def test_an_unused_model_is_unloaded_but_not_the_default(
    fast_node: StartNode, tmp_path: Path
) -> None:
    models = install_fast_model(tmp_path / "models")
    install_fast_model(models, name="other", seed=1)
    node = fast_node(models=models, environ={"SKERRY_MODELS_KEEP_ALIVE_S": "0.2"})
    with node.client() as client:
        recognise(client, model="other", limit=0)
        end = time.monotonic() + PATIENCE_S
        while loaded(client) != [NAME]:
            assert time.monotonic() < end, loaded(client)
            time.sleep(0.02)
