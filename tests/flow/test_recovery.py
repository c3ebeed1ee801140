"""What breaks around a node: it says so, goes on where it can, and recovers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import apsw
import httpx
import psutil
import pytest
from calls import metric, part, refused, store

from fast_model import ENVIRON, NAME
from pictures import jpeg, png
from running_node import RunningNode, wait_ready

StartNode = Callable[..., RunningNode]
PATIENCE_S = 20.0


def eventually(holds: Callable[[], Any], what: str) -> Any:
    """Wait until `holds` gives something true, and give it."""
    end = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return found


def found_by_itself(client: httpx.Client, data: bytes) -> int:
    """The id that a search for `data` gives at similarity 1."""
    answer = client.post("/api/images/search", files=[part(data)])
    assert answer.status_code == 200, answer.text
    best = answer.json()["similar_images"][0]
    assert best["similarity_score"] > 0.9999
    return int(best["id"])


def parts(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/readyz").json()["parts"]
    return found


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """The disk of `folder` has not a byte left; afterwards it has."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        for size in (1 << 16, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    yield
    filler.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A data folder on a disk of 48 MB."""
    folder = tmp_path / "data"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("A full disk needs root and the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_refuses_writes_keeps_reading_and_recovers(
    fast_node: StartNode, small_disk: Path
) -> None:
    node = fast_node()
    kept, tried = jpeg(), [jpeg(size=(900, 700)) for _ in range(3)]
    with node.client() as client:
        image = store(client, kept)
        with full_disk(small_disk):
            for data in tried:
                error = refused(client.post("/api/images", files=[part(data)]), 507)
                assert (error["code"], bool(error["remedy"])) == ("storage_full", True)
            assert not list((node.data / "blobs" / "incoming").iterdir())
            assert client.get("/api/images").json()["total"] == 1
            assert client.get(f"/api/images/{image['id']}/file").content == kept
            assert client.get(f"/api/images/{image['id']}/thumbnail").status_code == 200
            recognised = client.post("/api/recognize", content=jpeg())
            assert recognised.status_code == 200
            assert found_by_itself(client, kept) == image["id"]
        ids = [store(client, data)["id"] for data in tried]
        assert [found_by_itself(client, data) for data in tried] == ids
    node.kill()
    with fast_node().client() as client:
        assert client.get("/api/images").json()["total"] == 4
        assert [found_by_itself(client, data) for data in tried] == ids


def test_a_full_database_refuses_what_it_cannot_keep_and_recovers(
    fast_node: StartNode, small_disk: Path
) -> None:
    """A row fails after its file was stored: neither may stay."""
    node = fast_node()
    with node.client() as client:
        image = store(client)
        path = f"/api/images/{image['id']}"
        with full_disk(small_disk):
            # The write-ahead log has room to reuse; a large enough change has not.
            tags = {f"name-{i}": "x" * 250 for i in range(60)}
            seen = set()
            for i in range(400):
                changed = client.patch(path, json={"tags": {**tags, "turn": i}})
                seen.add(changed.status_code)
                if changed.status_code == 507:
                    break
            assert seen <= {200, 507}
            assert 507 in seen
            assert client.get(path).status_code == 200
        assert client.patch(path, json={"tags": {"done": True}}).status_code == 200
        assert client.get(path).json()["tags"] == {"done": True}


def test_a_node_does_not_start_on_a_full_disk_and_says_why(
    fast_node: StartNode, small_disk: Path
) -> None:
    with full_disk(small_disk), pytest.raises(AssertionError, match=r"ended with 1") as failed:
        fast_node()
    assert "space" in str(failed.value)
    assert "Traceback" not in str(failed.value)
    assert fast_node().process.poll() is None


def test_a_missing_model_is_named_and_the_rest_goes_on(
    fast_node: StartNode, fast_models: Path, tmp_path: Path
) -> None:
    with fast_node().client() as client:
        image = store(client)
    moved = tmp_path / "models"
    moved.mkdir()
    stopped(fast_node)
    node = fast_node(models=moved, ready=False)
    with node.client() as client:
        state = eventually(
            lambda: (p := parts(client)["models"])["state"] == "failed" and p, "no reason is given"
        )
        assert NAME in state["reason"]
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        assert client.get("/api/images").json()["images"][0]["id"] == image["id"]
        assert client.get(f"/api/images/{image['id']}/file").status_code == 200
        for path in ("/api/recognize", "/api/images"):
            answer = client.post(path, content=png())
            assert refused(answer, 503)["code"] == "model_unavailable"
            assert int(answer.headers["retry-after"]) >= 1


def stopped(start: StartNode) -> None:
    """End every node that the fixture has started, so that the folder is free."""
    for cell in start.__closure__ or ():
        if isinstance(cell.cell_contents, list):
            for node in cell.cell_contents:
                node.stop()


@pytest.mark.parametrize("damage", ["cut", "zeroed", "one bit", "manifest"])
def test_a_corrupt_model_is_named_and_nothing_is_invented(
    fast_node: StartNode, fast_models: Path, tmp_path: Path, damage: str
) -> None:
    models = tmp_path / "models"
    shutil.copytree(fast_models, models)
    (graph,) = (models / NAME).glob("*.onnx")
    (weights,) = (models / NAME).glob("*.weights")
    whole = weights.read_bytes()
    if damage == "manifest":
        (models / NAME / "manifest.json").write_bytes(b"{")
    if damage == "zeroed":
        graph.write_bytes(bytes(graph.stat().st_size))
    if damage == "cut":
        weights.write_bytes(whole[:-100])
    if damage == "one bit":
        weights.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    node = fast_node(models=models, ready=False)
    with node.client() as client:
        state = eventually(
            lambda: (p := parts(client)["models"])["state"] == "failed" and p, "no reason is given"
        )
        assert NAME in state["reason"]
        refused(client.post("/api/recognize", content=png()), 503)
    assert "Traceback" not in node.log.read_text()


def worker_of(node: RunningNode, module: str = "skerry.vectors.edge_worker") -> psutil.Process:
    """The process that holds the vectors, or runs another `module`."""

    def find() -> psutil.Process | None:
        for child in psutil.Process(node.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                if module in child.cmdline():
                    return child
        return None

    found: psutil.Process = eventually(find, f"the node has no {module}")
    return found


def test_recognition_outlasts_the_death_of_the_image_worker(fast_node: StartNode) -> None:
    node = fast_node()
    with node.client() as client:
        first = client.post("/api/recognize", content=jpeg(seed=1)).json()
        worker_of(node, "skerry.inference.image_worker").kill()
        answers = [client.post("/api/recognize", content=jpeg(seed=seed)) for seed in range(2, 8)]
        lost = [answer for answer in answers if answer.status_code != 200]
        for answer in lost:
            assert answer.json()["error"]["code"] == "model_unavailable"
            assert int(answer.headers["retry-after"]) >= 1
        assert len(lost) <= 1
        again = answers[-1].json()
        assert again["model"] == first["model"]
        assert metric(client, "skerry_worker_restarts_total", worker="images") == 1


def test_searches_outlast_the_death_of_the_vector_worker(fast_node: StartNode) -> None:
    node = fast_node()
    with node.client() as client:
        photos = [png() for _ in range(8)]
        ids = [store(client, data)["id"] for data in photos]
        for deaths in (1, 2, 3):
            worker_of(node).send_signal(signal.SIGKILL)
            assert [found_by_itself(client, data) for data in photos] == ids
            photos.append(png())
            ids.append(store(client, photos[-1])["id"])
            assert found_by_itself(client, photos[-1]) == ids[-1]
            assert metric(client, "skerry_worker_restarts_total", worker="vectors") == deaths
        eventually(lambda: client.get("/readyz").status_code == 200, "the node is not ready again")
        index = client.get("/api/status").json()["index"]
        assert (index["points"], index["lag"]) == (len(photos), 0)


def test_searches_wait_for_a_new_worker_while_many_ask(fast_node: StartNode) -> None:
    node = fast_node()
    with node.client() as client:
        data = png()
        image = store(client, data)
        answers: list[int] = []
        end = time.monotonic() + 2

        def ask() -> None:
            while time.monotonic() < end:
                answers.append(found_by_itself(client, data))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        worker_of(node).send_signal(signal.SIGKILL)
        for thread in threads:
            thread.join()
        assert set(answers) == {image["id"]}
        assert len(answers) > 10


@pytest.mark.parametrize("when", ["running", "stopped"])
def test_an_index_that_was_deleted_is_built_anew(fast_node: StartNode, when: str) -> None:
    node = fast_node()
    photos = [png() for _ in range(20)]
    with node.client() as client:
        ids = [store(client, data)["id"] for data in photos]
        client.delete(f"/api/images/{ids.pop()}")
        photos.pop()
    if when == "stopped":
        node.stop()
        shutil.rmtree(node.data / "index")
        node = fast_node()
    else:
        shutil.rmtree(node.data / "index")
        worker_of(node).send_signal(signal.SIGKILL)
    with node.client() as client:
        assert [found_by_itself(client, data) for data in photos] == ids
        photos.append(png())
        assert store(client, photos[-1])["id"] == found_by_itself(client, photos[-1])
        index = client.get("/api/status").json()["index"]
        assert (index["points"], index["lag"]) == (20, 0)


def test_a_damaged_index_is_built_anew(fast_node: StartNode) -> None:
    node = fast_node()
    photos = [png() for _ in range(10)]
    with node.client() as client:
        ids = [store(client, data)["id"] for data in photos]
    node.stop()
    for path in (node.data / "index").rglob("*"):
        if path.is_file() and path.stat().st_size > 16:
            path.write_bytes(os.urandom(path.stat().st_size))
    with fast_node().client() as client:
        assert [found_by_itself(client, data) for data in photos] == ids


def test_a_database_locked_by_another_process_is_told_and_waited_for(fast_node: StartNode) -> None:
    node = fast_node()
    with node.client() as client:
        kept = png()
        image = store(client, kept)
        other = apsw.Connection(str(node.data / "skerry.db"))
        other.execute("BEGIN IMMEDIATE")
        refusal = client.post("/api/images", content=png())
        error = refused(refusal, 503)
        assert (error["code"], "locked" in error["message"]) == ("store_unavailable", True)
        assert int(refusal.headers["retry-after"]) >= 1
        assert client.get(f"/api/images/{image['id']}").status_code == 200
        assert found_by_itself(client, kept) == image["id"]
        assert client.post("/api/recognize", content=png()).status_code == 200
        timer = threading.Timer(0.5, lambda: other.execute("ROLLBACK"))
        timer.start()
        assert client.post("/api/images", content=png()).status_code == 201
        timer.join()
        other.close()
        assert client.get("/api/images").json()["total"] == 2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_without_its_redis_cache_the_node_computes_and_says_so(fast_node: StartNode) -> None:
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("Needs a Redis server: apt-get install redis-server")
    port = free_port()
    command = [server, "--port", str(port), "--save", "", "--bind", "127.0.0.1"]

    def start() -> subprocess.Popen[bytes]:
        redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        eventually(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), "no Redis")
        return redis

    redis = start()
    environ = {"SKERRY_CACHE_TYPE": "redis", "SKERRY_CACHE_URL": f"redis://127.0.0.1:{port}/0"}
    with fast_node(environ=environ).client() as client:
        data = png()

        def cache() -> str:
            answer = client.post("/api/recognize", content=data)
            assert answer.status_code == 200, answer.text
            return str(answer.json()["cache"])

        try:
            assert [cache(), cache()] == ["miss", "hit"]
            redis.kill()
            redis.wait()
            assert [cache(), cache()] == ["unavailable", "unavailable"]
            assert client.post("/api/images", content=png()).status_code == 201
            redis = start()
            eventually(lambda: cache() == "miss", "the cache is not used again")
            assert cache() == "hit"
        finally:
            redis.kill()
            redis.wait()


def test_a_stopping_node_finishes_what_it_has_begun_and_takes_no_more(
    fast_node: StartNode,
) -> None:
    node = fast_node()
    address = urlsplit(node.url)
    data = png()
    head = (
        "POST /api/images HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: image/png\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=20) as wire:
        wire.sendall(head.encode() + data[:100])
        time.sleep(0.3)
        node.process.send_signal(signal.SIGTERM)
        eventually(lambda: refuses(node), "the stopping node still listens")
        assert node.process.poll() is None
        wire.sendall(data[100:])
        answer = b""
        while chunk := wire.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 201")
    assert node.process.wait(timeout=20) == 0
    with fast_node().client() as client:
        assert client.get("/api/images").json()["total"] == 1
        assert found_by_itself(client, data) == 1


def refuses(node: RunningNode) -> bool:
    address = urlsplit(node.url)
    with socket.socket() as probe:
        return bool(probe.connect_ex((address.hostname, address.port)))


def test_a_stopped_node_leaves_no_process_behind(fast_node: StartNode) -> None:
    node = fast_node()
    worker = worker_of(node)
    assert node.stop() == 0
    eventually(lambda: not worker.is_running(), "the worker outlives its node")


def test_a_killed_node_leaves_no_process_behind(fast_node: StartNode) -> None:
    node = fast_node()
    worker = worker_of(node)
    node.kill()
    eventually(lambda: not worker.is_running(), "the worker outlives its node")


def test_a_second_node_on_the_same_folder_is_refused(fast_node: StartNode) -> None:
    node = fast_node()
    command = [sys.executable, "-m", "skerry", "up", "--data", node.data, "--port", "0"]
    environ = {**os.environ, **ENVIRON, "SKERRY_MODELS": str(node.models)}
    second = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert "Another node uses the data folder" in second.stderr
    assert "Traceback" not in second.stderr
    with node.client() as client:
        data = png()
        assert store(client, data)["id"] == found_by_itself(client, data)
        secret = (node.data / "local.key").read_text().strip()
        client.post("/api/keys", json={"name": "a", "scope": "read"}).raise_for_status()
        assert client.get("/api/status", headers={"x-api-key": secret}).status_code == 200


def test_a_lost_file_is_told_and_the_image_can_be_removed(fast_node: StartNode) -> None:
    node = fast_node()
    with node.client() as client:
        image = store(client)
        digest = image["sha256"]
        (node.data / "blobs" / digest[:2] / digest).unlink()
        for what in ("file", "thumbnail"):
            error = refused(client.get(f"/api/images/{image['id']}/{what}"), 503)
            assert error["code"] == "store_unavailable"
        assert client.get(f"/api/images/{image['id']}").status_code == 200
        assert client.delete(f"/api/images/{image['id']}").status_code == 204


def test_what_a_crash_left_half_stored_is_swept_at_the_start(fast_node: StartNode) -> None:
    node = fast_node()
    with node.client() as client:
        kept = png()
        image = store(client, kept)
    node.stop()
    blobs = node.data / "blobs"
    orphan, partial = blobs / "ab" / ("ab" + "0" * 62), blobs / "incoming" / "x.partial"
    orphan.parent.mkdir(exist_ok=True)
    for path in (orphan, partial):
        path.write_bytes(b"left over")
        os.utime(path, (time.time() - 60,) * 2)
    node = fast_node()
    assert not orphan.exists()
    assert not partial.exists()
    with node.client() as client:
        assert client.get(f"/api/images/{image['id']}/file").content == kept


def test_a_database_that_is_no_database_is_named_and_left_alone(
    fast_node: StartNode, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "skerry.db").write_bytes(b"this is not a database" * 1000)
    with pytest.raises(AssertionError, match=r"ended with 1") as failed:
        fast_node()
    assert "not a database" in str(failed.value)
    assert "Traceback" not in str(failed.value)
    assert (data / "skerry.db").read_bytes() == b"this is not a database" * 1000


def test_readiness_follows_a_node_through_its_start(fast_node: StartNode) -> None:
    node = fast_node(ready=False)
    with node.client() as client:
        first = client.get("/readyz")
        assert first.status_code in (200, 503)
        assert set(first.json()["parts"]) >= {"database", "models", "index"}
        wait_ready(node)
        assert all(part["state"] == "ready" for part in parts(client).values())


def test_a_sweep_that_fails_does_not_keep_the_node_from_starting(fast_node: StartNode) -> None:
    node = fast_node()
    with node.client() as client:
        data = png()
        image = store(client, data)
    node.stop()
    free = next(f"{i:02x}" for i in range(256) if not (node.data / "blobs" / f"{i:02x}").exists())
    (node.data / "blobs" / free).write_bytes(b"a file where a folder belongs")
    node = fast_node()
    assert "not swept" in node.log.read_text()
    with node.client() as client:
        assert found_by_itself(client, data) == image["id"]


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_node_that_is_still_starting_stops_when_it_is_told(
    fast_node: StartNode, stop: signal.Signals
) -> None:
    # Each moment meets another step of the start: database, model, worker, index.
    for delay_s in (0, 0.03, 0.1, 0.2, 0.4):
        node = fast_node(ready=False)
        time.sleep(delay_s)
        node.process.send_signal(stop)
        # In the first milliseconds it dies of the signal, as every program does.
        assert node.process.wait(timeout=20) in (0, 130, -stop)
    assert "Traceback" not in node.log.read_text()
    with fast_node().client() as client:
        data = png()
        assert store(client, data)["id"] == found_by_itself(client, data)


def test_a_node_that_pulls_from_a_dead_index_stops_when_it_is_told(
    fast_node: StartNode, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        environ = {
            "SKERRY_MODELS_IMAGE": "",
            "PIP_INDEX_URL": index,
            "PIP_CONFIG_FILE": "/dev/null",
        }
        node = fast_node(models=tmp_path / "none", environ=environ, ready=False)
        pip = eventually(lambda: pip_of(node), "pip is not called")
        with node.client() as client:
            assert client.get("/healthz").status_code == 200
            assert parts(client)["models"]["state"] == "starting"
        assert node.stop() == 0
        assert not pip.is_running()


def pip_of(node: RunningNode) -> psutil.Process | None:
    children = psutil.Process(node.process.pid).children()
    return next((child for child in children if "pip" in child.cmdline()), None)
