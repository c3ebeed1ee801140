"""kill -9 cannot show a missing fsync: strace shows what is on disk before an answer leaves."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from calls import store

from pictures import png
from running_node import RunningNode

StartNode = Callable[..., RunningNode]
CALLS = "fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,write,writev,sendto,sendmsg"
LINE = re.compile(r"^(?P<tid>\d+)\s+(?P<rest>.*)$")
RESUMED = re.compile(r"^<\.\.\. (?P<name>\w+) resumed>")


@dataclass(frozen=True)
class Call:
    """A system call: its name, its arguments as strace writes them, when it began and returned."""

    name: str
    text: str
    began: int
    returned: int


class Trace:
    """What strace wrote, in order."""

    def __init__(self, text: str) -> None:
        self.calls: list[Call] = []
        pending: dict[str, tuple[str, int]] = {}
        for number, line in enumerate(text.splitlines()):
            match = LINE.match(line)
            if not match:
                continue
            tid, rest = match["tid"], match["rest"]
            if RESUMED.match(rest) and tid in pending:
                begun, at = pending.pop(tid)
                self._add(begun + rest, at, number)
            elif rest.endswith("<unfinished ...>"):
                pending[tid] = (rest, number)
            else:
                self._add(rest, number, number)

    def _add(self, text: str, began: int, returned: int) -> None:
        name = text.partition("(")[0]
        if re.fullmatch(r"\w+", name):
            self.calls.append(Call(name, text, began, returned))

    def returned(self, names: str, pattern: str) -> int:
        """When the first of these calls whose arguments match had returned."""
        return self._first(names, pattern).returned

    def began(self, names: str, pattern: str) -> int:
        """When it began."""
        return self._first(names, pattern).began

    def _first(self, names: str, pattern: str) -> Call:
        for call in self.calls:
            if call.name in names.split("|") and re.search(pattern, call.text):
                return call
        shown = "\n".join(call.text[:200] for call in self.calls)
        raise AssertionError(f"No {names} of {pattern} in:\n{shown}")


@contextmanager
def traced(node: RunningNode, file: Path) -> Iterator[None]:
    """strace on every thread of the node."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("Needs strace: apt-get install strace")
    command = [strace, "-f", "-y", "-s", "64", "-e", f"trace={CALLS}", "-o", str(file)]
    tracer = subprocess.Popen(
        [*command, "-p", str(node.process.pid)], stderr=subprocess.PIPE, text=True
    )
    assert tracer.stderr is not None
    said = tracer.stderr.readline()
    if "attached" not in said:
        tracer.wait()
        pytest.skip(f"strace cannot attach here: {said.strip()}")
    # One line a thread, and no word when the last one is attached.
    time.sleep(0.3)
    yield
    tracer.terminate()
    tracer.wait()


def test_an_image_is_on_disk_before_it_is_acknowledged(
    fast_node: StartNode, tmp_path: Path
) -> None:
    node = fast_node()
    with node.client() as client:
        assert client.get("/healthz").status_code == 200
        with traced(node, tmp_path / "trace"):
            digest = store(client, png())["sha256"]
    trace = Trace((tmp_path / "trace").read_text())
    folder = f"{re.escape(str(node.data))}/blobs"
    steps = [
        trace.returned("fsync|fdatasync", f"<{folder}/incoming/{digest}"),
        trace.began("rename|renameat|renameat2", f"incoming/{digest}.*/{digest[:2]}/{digest}"),
        trace.returned("fsync", f"<{folder}/{digest[:2]}>"),
        trace.returned("fsync|fdatasync", r"<[^>]*/skerry\.db-wal>"),
        trace.began("write|writev|sendto|sendmsg", r"HTTP/1\.1 201"),
    ]
    assert steps == sorted(steps)
    assert len(set(steps)) == len(steps)
    # The new folder's own name is safe before a file is moved into it.
    assert trace.returned("fsync", f"<{folder}>") < steps[1]


@pytest.mark.parametrize(("method", "status"), [("DELETE", 204), ("PATCH", 200)])
def test_a_change_is_on_disk_before_it_is_acknowledged(
    fast_node: StartNode, tmp_path: Path, method: str, status: int
) -> None:
    node = fast_node()
    with node.client() as client:
        image = store(client)
        body = {"json": {"tags": {"a": 1}}} if method == "PATCH" else {}
        with traced(node, tmp_path / "trace"):
            answer = client.request(method, f"/api/images/{image['id']}", **body)
        assert answer.status_code == status
    trace = Trace((tmp_path / "trace").read_text())
    synced = trace.returned("fsync|fdatasync", r"<[^>]*/skerry\.db-wal>")
    assert synced < trace.began("write|writev|sendto|sendmsg", rf"HTTP/1\.1 {status}")
    if method == "DELETE":
        # A file that is gone while its row might come back would be a lost image.
        assert synced < trace.began("unlink|unlinkat", image["sha256"])


def test_a_key_is_on_disk_before_its_secret_is_shown(fast_node: StartNode, tmp_path: Path) -> None:
    node = fast_node()
    with node.client() as client:
        assert client.get("/healthz").status_code == 200
        with traced(node, tmp_path / "trace"):
            made = client.post("/api/keys", json={"name": "me", "scope": "read"})
        assert made.status_code == 201
    trace = Trace((tmp_path / "trace").read_text())
    synced = trace.returned("fsync|fdatasync", r"<[^>]*/skerry\.db-wal>")
    assert synced < trace.began("write|writev|sendto|sendmsg", r"HTTP/1\.1 201")
