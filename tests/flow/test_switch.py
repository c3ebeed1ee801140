"""Another default model, amid work: the old space serves until the new one is whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from calls import part, refused, store

from fast_model import NAME, install_fast_model
from pictures import png
from running_node import RunningNode

StartNode = Callable[..., RunningNode]
PATIENCE_S = 60.0


def two_models(folder: Path) -> Path:
    install_fast_model(folder)
    return install_fast_model(folder, name="other", seed=1)


def finished(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """The job when it has ended."""
    end = time.monotonic() + PATIENCE_S
    while job["state"] == "running":
        assert time.monotonic() < end, job
        time.sleep(0.02)
        job = client.get(f"/api/jobs/{job['id']}").json()["job"]
    return job


def best(client: httpx.Client, data: bytes) -> tuple[int, float]:
    answer = client.post("/api/images/search", files=[part(data)])
    assert answer.status_code == 200, answer.text
    match = answer.json()["similar_images"][0]
    return match["id"], match["similarity_score"]


def test_a_switch_keeps_every_image_findable_before_during_and_after(
    fast_node: StartNode, tmp_path: Path
) -> None:
    models = two_models(tmp_path / "models")
    node = fast_node(models=models)
    with node.client() as client:
        photos = {store(client, data)["id"]: data for data in (png() for _ in range(60))}
        done = threading.Event()
        wrong: list[str] = []

        def work() -> None:
            with node.client() as mine:
                while not done.is_set():
                    data = png()
                    image = store(mine, data)
                    photos[image["id"]] = data
                    found = best(mine, data)
                    if found[0] != image["id"] or found[1] < 0.9999:
                        wrong.append(f"{image['id']} stored, {found} found")

        worker = threading.Thread(target=work)
        worker.start()
        try:
            answer = client.put("/api/models/default", json={"name": "other"})
            assert answer.status_code == 202, answer.text
            again = client.put("/api/models/default", json={"name": "other"})
            assert again.status_code in (202, 409)
            job = finished(client, answer.json()["job"])
        finally:
            done.set()
            worker.join()
        assert (job["state"], wrong) == ("done", [])
        for image_id, data in photos.items():
            found_id, score = best(client, data)
            assert (found_id, score > 0.9999) == (image_id, True)
        status = client.get("/api/status").json()
        assert status["models"][0]["name"] == "other"
        assert status["index"]["points"] == status["images"] == len(photos)
    assert node.stop() == 0
    # The choice outlives the node: what was configured was only the first one.
    with fast_node(models=models, environ={"SKERRY_MODELS_IMAGE": ""}).client() as client:
        assert client.get("/api/status").json()["models"][0]["name"] == "other"
        image_id, data = next(iter(photos.items()))
        assert best(client, data)[0] == image_id


def test_a_model_that_is_not_the_default_gives_labels_and_no_neighbours(
    fast_node: StartNode, tmp_path: Path
) -> None:
    node = fast_node(models=two_models(tmp_path / "models"))
    with node.client() as client:
        data = png()
        store(client, data)
        url = "/api/recognize?model=other"
        assert refused(client.post(url, content=data), 409)["code"] == "space_mismatch"
        alone = client.post(f"{url}&limit=0", content=data)
        assert alone.json()["model"]["name"] == "other"
        assert alone.json()["labels"]
        main = client.post(f"/api/recognize?model={NAME}", content=data)
        assert main.json()["similar_images"]
        assert main.json()["feature_vector"] != alone.json()["feature_vector"]


def test_a_switch_that_was_killed_can_be_made_again(fast_node: StartNode, tmp_path: Path) -> None:
    models = two_models(tmp_path / "models")
    node = fast_node(models=models)
    with node.client() as client:
        photos = {store(client, data)["id"]: data for data in (png() for _ in range(40))}
        assert client.put("/api/models/default", json={"name": "other"}).status_code == 202
        node.kill()
    with fast_node(models=models).client() as client:
        for image_id, data in photos.items():
            assert best(client, data)[0] == image_id
        answer = client.put("/api/models/default", json={"name": "other"})
        if answer.status_code == 202:
            assert finished(client, answer.json()["job"])["state"] == "done"
        else:
            refused(answer, 409)
        assert client.get("/api/status").json()["models"][0]["name"] == "other"
        for image_id, data in photos.items():
            assert best(client, data)[0] == image_id


def test_an_unknown_model_cannot_become_the_default(fast_node: StartNode) -> None:
    with fast_node().client() as client:
        refused(client.put("/api/models/default", json={"name": "nothing"}), 404)
        refused(client.put("/api/models/default", json={"name": NAME}), 409)
        assert client.get("/readyz").status_code == 200


def test_a_rebuild_amid_writes_loses_nothing(fast_node: StartNode) -> None:
    node = fast_node()
    with node.client() as client:
        photos: dict[int, bytes] = {}
        for turn in range(4):
            answer = client.post("/api/index/rebuild")
            assert answer.status_code == 202, answer.text
            for _ in range(10):
                data = png()
                image = store(client, data)
                photos[image["id"]] = data
                assert best(client, data)[0] == image["id"]
            gone = next(iter(photos))
            client.delete(f"/api/images/{gone}").raise_for_status()
            lost = photos.pop(gone)
            assert best(client, lost)[0] != gone
            assert finished(client, answer.json()["job"])["state"] == "done", turn
        for image_id, data in photos.items():
            assert best(client, data)[0] == image_id
        index = client.get("/api/status").json()["index"]
        assert (index["points"], index["lag"]) == (len(photos), 0)
