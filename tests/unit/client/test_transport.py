from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import skerry
from client.scripted import Reply, Request, refusal, serving
from skerry import errors
from skerry.client.answers import Failure, parse_server_timing
from skerry.client.transport import as_error, is_loopback, normal_url
from skerry.errors import (
    ConfigError,
    ImageNotFound,
    ImageUnreadable,
    NodeUnreachable,
    Overloaded,
    SkerryError,
    Unauthorized,
)

STATUS = {"version": "0.1.0", "ready": True}
IMAGE = {
    "id": 7, "sha256": "00" * 32, "filename": "a.png", "media_type": "image/png",
    "width": 1, "height": 1, "bytes": 9, "created_at": 1, "tags": {"shelf": "3"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SKERRY_URL", "SKERRY_KEY", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_busy_node_is_asked_again_after_the_time_it_names() -> None:
    replies = iter([refusal(503, "overloaded", "full", retry_after="0.01"), Reply(200, STATUS)])
    with serving(lambda _: next(replies)) as node, skerry.connect(node.url) as client:
        assert client.status().ready
        assert len(node.requests) == 2


def test_a_file_is_sent_whole_again_after_a_busy_answer(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"every byte of it")
    stored = {"images": [{"status": "created", "id": 1, "sha256": "00"}]}
    replies = iter([refusal(503, "overloaded", "full", retry_after="0"), Reply(201, stored)])
    with serving(lambda _: next(replies)) as node, skerry.connect(node.url) as client:
        assert client.images.add(picture).id == 1
        assert [b"every byte of it" in request.body for request in node.requests] == [True, True]


def test_patience_ends_with_the_nodes_own_error() -> None:
    busy = refusal(503, "overloaded", "full", remedy="wait", retry_after="60")
    with serving(lambda _: busy) as node, skerry.connect(node.url, patience_s=1) as client:
        with pytest.raises(Overloaded) as caught:
            client.status()
        assert caught.value.retry_after_s == 60
        assert len(node.requests) == 1


def test_refused_key_is_asked_for_anew_since_a_restarted_node_has_another() -> None:
    def script(request: Request) -> Reply:
        if request.headers.get("Authorization") == "Bearer new":
            return Reply(200, STATUS)
        return refusal(401, "unauthorized", "no")

    keys: Iterator[str] = iter(["old", "new"])
    with serving(script) as node, skerry.connect(node.url, key=lambda: next(keys)) as client:
        assert client.status().ready


def test_wrong_key_is_refused_once_and_not_tried_for_ever() -> None:
    with (
        serving(lambda _: refusal(401, "unauthorized", "no")) as node,
        skerry.connect(node.url, key="wrong") as client,
    ):
        with pytest.raises(Unauthorized):
            client.status()
        assert len(node.requests) == 1


def test_errors_come_back_as_the_class_of_their_code() -> None:
    with (
        serving(lambda _: refusal(404, "image_not_found", "no 9", remedy="list")) as node,
        skerry.connect(node.url) as client,
    ):
        with pytest.raises(ImageNotFound, match="no 9") as caught:
            client.images.get(9)
        assert caught.value.remedy == "list"
        assert client.images.find("ab") is None


def _kinds(kind: type[SkerryError] = SkerryError) -> Iterator[type[SkerryError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _kinds(child)


@pytest.mark.parametrize("kind", [*_kinds()], ids=lambda kind: kind.__name__)
def test_every_error_a_node_tells_of_can_be_raised(kind: type[SkerryError]) -> None:
    told = as_error(Failure(kind.code, "what happened", remedy="what to do"))
    assert type(told).code == kind.code
    assert (str(told), told.remedy) == ("what happened", "what to do")


def test_a_code_of_a_newer_node_keeps_its_name() -> None:
    with (
        serving(lambda _: refusal(418, "teapot", "short and stout")) as node,
        skerry.connect(node.url) as client,
        pytest.raises(SkerryError) as caught,
    ):
        client.status()
    assert caught.value.code == "teapot"
    assert SkerryError.code == "internal"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, raw=b"<html>hello</html>"),
        Reply(404, raw=b"<html>no</html>"),
        Reply(200, {"images": "none"}),
        Reply(200, raw=b"[" * 100_000),
    ],
)
def test_what_is_no_node_is_said_to_be_none(reply: Reply) -> None:
    with (
        serving(lambda _: reply) as node,
        skerry.connect(node.url) as client,
        pytest.raises(NodeUnreachable, match=r"node"),
    ):
        client.status()


def test_no_node_is_unreachable_with_the_way_to_start_one() -> None:
    with (
        skerry.connect("http://127.0.0.1:9") as client,
        pytest.raises(NodeUnreachable, match=r"127\.0\.0\.1:9") as caught,
    ):
        client.status()
    assert "skerry up" in caught.value.remedy


def test_a_node_that_hangs_is_given_up_after_the_timeout() -> None:
    import threading

    release = threading.Event()

    def hang(_: Request) -> Reply:
        release.wait(20)
        return Reply(200, STATUS)

    with serving(hang) as node, skerry.connect(node.url, timeout_s=0.1) as client:
        with pytest.raises(NodeUnreachable, match=r"within 0.1 s"):
            client.status()
        release.set()


def test_a_proxy_of_the_environment_is_not_used_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with serving(lambda _: Reply(200, STATUS)) as node, skerry.connect(node.url) as client:
        assert client.status().ready


def test_address_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda _: Reply(200, STATUS)) as node:
        monkeypatch.setenv("SKERRY_URL", node.url)
        monkeypatch.setenv("SKERRY_KEY", "sk_1")
        with skerry.connect() as client:
            client.status()
        assert node.requests[0].headers["Authorization"] == "Bearer sk_1"


def test_tags_are_merged_and_others_kept() -> None:
    def script(request: Request) -> Reply:
        return Reply(200, IMAGE)

    with serving(script) as node, skerry.connect(node.url) as client:
        client.images.tag(7, {"colour": "red"}, remove=("shelf",))
        assert node.requests[-1].method == "PATCH"
        assert node.requests[-1].body == b'{"tags":{"colour":"red"}}'


def test_all_follows_the_pages_up_to_the_limit() -> None:
    def script(request: Request) -> Reply:
        cursor = "b" if "cursor=a" in request.path else "a"
        return Reply(200, {"images": [IMAGE, IMAGE], "next": cursor})

    with serving(script) as node, skerry.connect(node.url) as client:
        assert len(list(client.images.all(limit=4))) == 4
        assert "limit=4" in node.requests[0].path
        assert "limit=2" in node.requests[1].path


def test_a_key_no_header_can_carry_is_refused() -> None:
    with pytest.raises(ConfigError):
        skerry.connect("http://127.0.0.1:9", key="sk_\n")


@pytest.mark.parametrize("url", ["", " ", "ftp://x", "http://", "http://a:b", "http://[::1"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        normal_url(url)


def test_urls_may_leave_out_the_scheme() -> None:
    assert normal_url("localhost:8642/") == "http://localhost:8642"
    assert is_loopback(normal_url("localhost:8642"))
    assert not is_loopback("http://shop.example:8642")
    assert is_loopback("http://[::1]:8642")


def test_a_missing_file_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    with (
        skerry.connect("http://127.0.0.1:9") as client,
        pytest.raises(ImageUnreadable, match=r"none\.jpg"),
    ):
        client.images.add(tmp_path / "none.jpg")


def test_server_timing_becomes_stages_in_order() -> None:
    stages = parse_server_timing("cache;dur=0.1, decode;dur=2.4, mark, total;dur=8.3")
    assert list(stages.items()) == [("cache", 0.1), ("decode", 2.4), ("total", 8.3)]


def test_importing_skerry_or_its_client_brings_nothing_of_the_server() -> None:
    code = (
        "import sys, skerry; assert 'httpx' not in sys.modules; skerry.connect;"
        "import skerry.client; print([m for m in sys.modules if m.startswith('skerry.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(eval(done.stdout))
    allowed = {"skerry.errors", "skerry.client"}
    assert all(m in allowed or m.startswith("skerry.client.") for m in loaded)


def test_bytes_are_a_picture_too() -> None:
    from skerry.client.resources import open_picture

    assert isinstance(open_picture(b"x"), io.BytesIO)
