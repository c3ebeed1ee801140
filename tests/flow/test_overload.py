"""More than the node can do: a few wait, the rest are told when to come back, nobody is lost."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest
from calls import memory_kb, metric, part, refused
from PIL import Image

from pictures import encoded, jpeg, photo
from running_node import RunningNode

StartNode = Callable[..., RunningNode]


def large_photos(count: int) -> list[bytes]:
    """Photos that take some ten milliseconds each to decode."""
    whole = encoded(photo(size=(1600, 1200)), "PNG", compress_level=1)
    # Bytes after the end change the file and not the picture.
    return [whole + bytes([index]) for index in range(count)]


def at_once(count: int, call: Callable[[int], httpx.Response]) -> list[httpx.Response]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


@pytest.mark.parametrize("path", ["/api/recognize", "/api/images"])
def test_beyond_the_queue_requests_are_told_when_to_come_back(
    fast_node: StartNode, path: str
) -> None:
    node = fast_node(environ={"SKERRY_LIMITS_QUEUE": "2"})
    photos = large_photos(40)
    with node.client(limits=httpx.Limits(max_connections=40)) as client:
        answers = at_once(40, lambda i: client.post(path, content=photos[i]))
        done = [answer for answer in answers if answer.status_code in (200, 201)]
        for answer in answers:
            if answer not in done:
                assert refused(answer, 503)["code"] == "overloaded"
                assert int(answer.headers["retry-after"]) >= 1
        assert 1 <= len(done) < 40
        told = metric(client, "skerry_errors_total", route=path, code="overloaded")
        assert told == 40 - len(done)
        stored = client.get("/api/images").json()["total"]
        assert stored == (len(done) if path == "/api/images" else 0)
        for data in photos[:5]:
            assert client.post(path, content=data).status_code in (200, 201)
        assert metric(client, "skerry_queue_depth") == 0


def test_what_is_not_done_by_its_deadline_is_answered_503(fast_node: StartNode) -> None:
    node = fast_node(environ={"SKERRY_LIMITS_DEADLINE_S": "0.001"})
    (large,) = large_photos(1)
    with node.client() as client:
        for path in ("/api/recognize", "/api/images"):
            answer = client.post(path, content=large)
            assert refused(answer, 503)["code"] in ("deadline_exceeded", "index_unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        assert client.get("/api/images").json()["total"] == 0


def test_equal_uploads_at_once_run_the_model_once(fast_node: StartNode) -> None:
    (data,) = large_photos(1)
    with fast_node().client() as client:
        answers = at_once(20, lambda _: client.post("/api/images", files=[part(data)]))
        assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
        assert metric(client, "inference_duration_seconds_count") == 1
        assert metric(client, "skerry_images") == 1


def test_a_burst_of_small_requests_is_served_in_full(fast_node: StartNode) -> None:
    photos = [jpeg() for _ in range(50)]
    with fast_node().client() as client:
        answers = at_once(50, lambda i: client.post("/api/images", content=photos[i]))
        assert {answer.status_code for answer in answers} == {201}
        assert client.get("/api/images").json()["total"] == 50


def test_many_large_bodies_at_once_are_held_only_up_to_the_bound(fast_node: StartNode) -> None:
    node = fast_node(environ={"SKERRY_LIMITS_MAX_HELD_BYTES": str(20 << 20)})
    body = bytes(8 << 20)
    with node.client(limits=httpx.Limits(max_connections=40)) as client:
        client.post("/api/recognize", content=body)
        before = memory_kb(node.process.pid, "VmHWM")
        answers = at_once(40, lambda _: client.post("/api/recognize", content=body))
        for answer in answers:
            if answer.status_code == 503:
                assert refused(answer, 503)["code"] == "overloaded"
                assert int(answer.headers["retry-after"]) >= 1
            else:
                refused(answer, 400)
        # 40 bodies of 8 MB would be 320 MB.
        assert memory_kb(node.process.pid, "VmHWM") - before < 160_000
        # What was held is given back: the bound is not used up.
        for _ in range(5):
            refused(client.post("/api/recognize", content=body), 400)
        assert client.post("/api/recognize", content=jpeg()).status_code == 200


def test_bodies_that_stay_away_hold_nothing(fast_node: StartNode) -> None:
    node = fast_node(environ={"SKERRY_LIMITS_MAX_HELD_BYTES": str(1 << 20)})
    address = urlsplit(node.url)
    head = b"POST /api/recognize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    with contextlib.ExitStack() as open_wires, node.client() as client:
        for _ in range(20):
            wire = socket.create_connection((address.hostname, address.port))
            open_wires.enter_context(wire).sendall(head)
        for _ in range(5):
            assert client.post("/api/recognize", content=jpeg()).status_code == 200


def test_a_slow_upload_is_not_taken_for_slow_work(fast_node: StartNode) -> None:
    node = fast_node(environ={"SKERRY_LIMITS_DEADLINE_S": "1"})
    data = jpeg()

    def slowly() -> Iterator[bytes]:
        for start in range(0, len(data), len(data) // 3):
            time.sleep(0.4)
            yield data[start : start + len(data) // 3]

    with node.client() as client:
        for path in ("/api/recognize", "/api/images"):
            assert client.post(path, content=slowly()).status_code in (200, 201)


def test_many_files_in_one_request_are_not_taken_for_one_slow_file(fast_node: StartNode) -> None:
    node = fast_node(environ={"SKERRY_LIMITS_DEADLINE_S": "2"})
    plain = encoded(Image.new("RGB", (2000, 1500), "teal"), "PNG")
    photos = [plain + bytes([index]) for index in range(100)]
    with node.client() as client:
        answer = client.post("/api/images", files=[part(data) for data in photos])
        assert answer.status_code == 201, answer.text[:500]
        assert {image["status"] for image in answer.json()["images"]} == {"created"}
