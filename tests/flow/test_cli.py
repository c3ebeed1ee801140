"""The commands against a real node, as a person types them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx
import pytest

from fast_model import ENVIRON
from pictures import jpeg
from running_node import RunningNode, start_node
from tiny_model import CLASSES, SIZE, tiny_graph

StartNode = Callable[..., Any]


def picture(path: Path) -> Path:
    """A JPEG that no test has stored before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg())
    return path


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.out, self.err
        return json.loads(self.out)


@dataclass
class Cli:
    """`skerry` beside one node."""

    node: RunningNode
    folder: Path

    def __call__(self, *arguments: str | Path, stdin: bytes = b"", **environ: str) -> Done:
        done = subprocess.run(
            self._command(*arguments),
            input=stdin,
            capture_output=True,
            cwd=self.folder,
            env={**self.environ, **environ},
            timeout=100,
        )
        assert b"Traceback" not in done.stderr
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    @contextmanager
    def running(self, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            self._command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env=self.environ,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    @property
    def environ(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SKERRY_")}
        return {
            **clean,
            "SKERRY_URL": self.node.url,
            "SKERRY_DATA": str(self.node.data),
            "SKERRY_MODELS": str(self.node.models),
        }

    @staticmethod
    def _command(*arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "skerry", *map(str, arguments)]


@pytest.fixture(scope="module")
def shared_node(
    fast_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningNode]:
    running = start_node(
        tmp_path_factory.mktemp("cli") / "data", models=fast_models, environ=ENVIRON
    )
    yield running
    running.kill()


@pytest.fixture
def cli(shared_node: RunningNode, tmp_path: Path) -> Cli:
    """Beside a node whose model costs nothing."""
    return Cli(shared_node, tmp_path)


@pytest.fixture
def default_cli(node: RunningNode, tmp_path: Path) -> Cli:
    """Beside a node with the default model."""
    return Cli(node, tmp_path)


def test_a_folder_is_stored_once_and_what_cannot_be_read_is_named(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for index in range(6):
        picture(folder / f"{index}.jpg")
    picture(folder / "shelf-3/below.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (folder / "notes.txt").write_text("words")
    first = cli("images", "add", folder, "--tag-by-folder", "shelf", "--uploaded-by", "ann")
    assert first.code == 1
    assert first.out == "Stored 7 images, 1 could not be stored.\n"
    assert "broken.jpg: " in first.err
    assert "notes.txt" in first.err
    again = cli("images", "add", folder, "--json")
    assert again.code == 1
    counts = {name: again.json[name] for name in ("created", "exists", "failed", "not_reached")}
    assert counts == {"created": 0, "exists": 7, "failed": 1, "not_reached": 0}
    assert [Path(name).name for name in again.json["ignored"]] == ["notes.txt"]
    errors = [entry["error"]["code"] for entry in again.json["files"] if "error" in entry]
    assert errors == ["image_unreadable"]


def test_an_interrupted_run_goes_on_where_it_stopped(fast_node: StartNode, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for index in range(60):
        picture(folder / f"{index:03}.jpg")
    node = fast_node()
    cli = Cli(node, tmp_path)
    with cli.running("images", "add", folder, "--jobs", "1") as adding:
        while not cli("status", "--json").json["images"]:
            pass
        node.kill()
        out, err = adding.communicate(timeout=60)
    assert adding.returncode == 3, err
    assert b"the same command goes on from here" in out
    cli.node = fast_node()
    before = cli("status", "--json").json["images"]
    done = cli("images", "add", folder, "--json")
    assert done.code == 0
    assert (done.json["exists"], done.json["created"]) == (before, 60 - before)
    assert cli("status", "--json").json["images"] == 60


def test_images_are_listed_by_their_marks_and_paged(cli: Cli, tmp_path: Path) -> None:
    for index in range(5):
        picture(tmp_path / f"lot/{index}.jpg")
    who = f"lister-{time.time_ns()}"
    cli("images", "add", "lot", "--uploaded-by", who, "--tag", "shelf=3", "--tag", "floor=1")
    page = cli("images", "list", "--uploaded-by", who, "--limit", "2", "--json").json
    assert (len(page["images"]), page["total"]) == (2, 5)
    everything = cli("images", "list", "--uploaded-by", who, "--all", "--json").json
    assert len({image["id"] for image in everything["images"]}) == 5
    assert everything["next"] is None
    none = cli("images", "list", "--uploaded-by", who, "--tag", "shelf=4")
    assert (none.out, none.err) == ("", "No images match.\n")
    text = cli("images", "list", "--uploaded-by", who, "--tag", "shelf=3", "--limit", "3")
    assert len(text.out.splitlines()) == 4
    assert "shelf=3" in text.out
    assert text.err.startswith("3 of 5")
    soon = str(int(time.time()) + 3600)
    assert (
        cli("images", "list", "--uploaded-by", who, "--after", soon, "--json").json["images"] == []
    )


def test_a_stored_image_is_found_by_file_id_and_digest(cli: Cli, tmp_path: Path) -> None:
    stored = cli("images", "add", picture(tmp_path / "one.jpg"), "--tag", "only=one", "--json").json
    image_id = stored["files"][0]["id"]
    shown = cli("images", "show", str(image_id), "--save", "copy.jpg", "--json").json
    assert shown["tags"] == {"only": "one"}
    assert (tmp_path / "copy.jpg").read_bytes() == (tmp_path / "one.jpg").read_bytes()
    by_file = cli("images", "search", "one.jpg", "--tag", "only=one", "--json").json
    assert by_file["similar_images"][0]["id"] == image_id
    assert by_file["similar_images"][0]["similarity_score"] > 0.99
    assert cli("images", "search", str(image_id), "--limit", "3").code == 0
    assert cli("images", "search", shown["sha256"], "--json").code == 0
    missing = cli("images", "search", "absent.jpg")
    assert (missing.code, missing.err.splitlines()[0]) == (
        1,
        "error: There is no file 'absent.jpg'.",
    )


def test_tags_are_set_dropped_and_suggested(cli: Cli, tmp_path: Path) -> None:
    file = picture(tmp_path / "one.jpg")
    added = cli("images", "add", file, "--tag", "kind=a", "--json").json
    image_id = str(added["files"][0]["id"])
    changed = cli("images", "tag", image_id, "shelf=9", "--remove", "kind", "--json").json
    assert changed["images"][0]["tags"] == {"shelf": "9"}
    suggested = cli("recognize", file, "--json").json["results"][0]["suggested_tags"]
    assert ("shelf", "9") in {(tag["name"], tag["value"]) for tag in suggested}
    note = cli("images", "add", file, "--tag", "shelf=1").err
    assert "keep their tags" in note


def test_what_is_removed_is_gone(cli: Cli, tmp_path: Path) -> None:
    image_id = str(
        cli("images", "add", picture(tmp_path / "x.jpg"), "--json").json["files"][0]["id"]
    )
    assert cli("images", "remove", image_id).out == "Removed 1 image.\n"
    again = cli("images", "remove", image_id, "--json")
    assert (again.code, again.json) == (1, {"removed": [], "not_found": [image_id]})
    assert cli("images", "show", image_id).code == 1


def test_recognition_is_drawn_with_bars_and_stages(default_cli: Cli, tmp_path: Path) -> None:
    file = picture(tmp_path / "photo.jpg")
    default_cli("images", "add", picture(tmp_path / "other.jpg"))
    drawn = default_cli("recognize", file, "--labels", "3")
    assert drawn.code == 0
    assert len(re.findall(r"^  .*\d%$", drawn.out, re.MULTILINE)) >= 3
    for word in ("█", "similar images", "where the time went", "inference"):
        assert word in drawn.out
    answer = default_cli("recognize", file, "--features", "--limit", "0", "--json").json["results"][
        0
    ]
    assert answer["file"] == str(file)
    assert answer["similar_images"] == []
    assert abs(np.linalg.norm(answer["feature_vector"]) - 1) < 1e-3
    assert answer["stages"]["total"] > 0


def test_recognition_reads_stdin_and_goes_on_after_a_bad_file(cli: Cli, tmp_path: Path) -> None:
    assert cli("recognize", "-", "--json", stdin=jpeg()).json["results"][0]["labels"]
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    done = cli("recognize", "bad.jpg", "gone.jpg", picture(tmp_path / "good.jpg"), "--json")
    codes = [result.get("error", {}).get("code") for result in done.json["results"]]
    assert done.code == 1
    assert codes == ["image_unreadable", "image_unreadable", None]


def _line(stream: IO[bytes] | None) -> Any:
    assert stream is not None
    return json.loads(stream.readline())


def test_watching_stores_what_is_there_and_what_comes_and_outlives_the_node(
    fast_node: StartNode, tmp_path: Path
) -> None:
    inbox = tmp_path / "inbox"
    picture(inbox / "first.jpg")
    node = fast_node()
    port = node.url.rpartition(":")[2]
    cli = Cli(node, tmp_path)
    options = ("--tag-by-folder", "shelf", "--settle", "0.3", "--json")
    with cli.running("images", "watch", inbox, *options) as watching:
        assert _line(watching.stdout)["status"] == "created"
        with (inbox / "slow.jpg").open("wb") as slow:
            whole = jpeg()
            for piece in (whole[:500], whole[500:900], whole[900:]):
                slow.write(piece)
                slow.flush()
                time.sleep(0.15)
        second = _line(watching.stdout)
        assert (Path(second["file"]).name, second["status"]) == ("slow.jpg", "created")
        node.kill()
        picture(inbox / "shelf-3/third.jpg")
        assert watching.stderr is not None
        while b"Waiting" not in watching.stderr.readline():
            pass
        cli.node = fast_node(flags=("--port", port))
        third = _line(watching.stdout)
        assert third["status"] == "created"
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=20)
        assert watching.returncode == 130
    shown = cli("images", "show", str(third["id"]), "--json").json
    assert shown["tags"] == {"shelf": "shelf-3"}
    assert cli("status", "--json").json["images"] == 3


def test_status_doctor_and_index_speak_of_the_running_node(default_cli: Cli) -> None:
    status = default_cli("status")
    assert default_cli.node.url in status.out
    assert "efficientnet-lite2, default" in status.out
    doctor = default_cli("doctor", "--json")
    assert doctor.code == 0, doctor.out
    states = {check["name"]: check["state"] for check in doctor.json["checks"]}
    assert states["node"] == "ok"
    assert states["model"] == "ok"
    index = default_cli("index", "status", "--json").json
    assert index["images"]["state"] in {"ready", "catching_up"}
    assert set(index) == {"images", "documents"}


def test_the_index_is_rebuilt_by_a_job_that_is_listed(cli: Cli, tmp_path: Path) -> None:
    cli("images", "add", picture(tmp_path / "x.jpg"))
    rebuilt = cli("index", "rebuild", "--json")
    assert rebuilt.code == 0, rebuilt.err
    assert rebuilt.json["state"] == "done"
    jobs = cli("jobs", "list", "--json").json["jobs"]
    assert rebuilt.json["id"] in {job["id"] for job in jobs}
    assert cli("jobs", "show", rebuilt.json["id"]).code == 0
    assert cli("jobs", "show", "no-such-job").code == 1


def test_from_the_first_key_on_only_keys_and_this_user_are_served(
    fast_node: StartNode, tmp_path: Path
) -> None:
    cli = Cli(fast_node(), tmp_path)
    secret = cli(
        "keys", "create", "--name", "till-3", "--scope", "infer", "--expires", "90d"
    ).out.strip()
    assert secret.startswith("sk_")
    stranger = {"SKERRY_DATA": str(tmp_path / "elsewhere")}
    refused = cli("status", **stranger)
    assert refused.code == 1
    assert "skerry keys create" in refused.err
    assert cli("status", SKERRY_KEY=secret, **stranger).code == 0
    assert cli("status").code == 0
    file = picture(tmp_path / "x.jpg")
    assert cli("recognize", file, SKERRY_KEY=secret).code == 0
    assert cli("images", "add", file, SKERRY_KEY=secret).code == 1
    listed = cli("keys", "list", "--json").json["keys"]
    assert [(key["name"], key["scope"]) for key in listed] == [("till-3", "infer")]
    assert secret not in json.dumps(listed)
    assert "till-3" in cli("keys", "list").out
    assert cli("keys", "create", "--name", "me", "--scope", "admin").code == 0
    assert cli("keys", "revoke", "till-3").err == ""
    revoked = cli("status", SKERRY_KEY=secret, **stranger)
    assert (revoked.code, "revoked" in revoked.err) == (1, True)
    assert "is open" in cli("keys", "revoke", "me").err


def test_up_refuses_in_one_line_what_it_cannot_do(cli: Cli, tmp_path: Path) -> None:
    taken = cli("up", "--data", tmp_path / "other", "--port", cli.node.url.rpartition(":")[2])
    assert taken.code == 2
    assert "--port" in taken.err
    locked = cli("up", "--data", cli.node.data, "--port", "0")
    assert locked.code == 1
    beyond = cli("up", "--data", tmp_path / "beyond", "--port", "0", "--host", "0.0.0.0")
    assert beyond.code == 2
    assert "skerry keys create" in beyond.err
    for refused in (taken, locked, beyond):
        last = [line for line in refused.err.splitlines() if line.startswith("error: ")]
        assert len(last) == 1


def test_up_serves_after_a_key_was_made_without_a_node(
    fast_node: StartNode, tmp_path: Path
) -> None:
    node = fast_node()
    cli = Cli(node, tmp_path)
    node.stop()
    made = cli("keys", "create", "--name", "me", "--scope", "admin", "--json")
    assert made.code == 0, made.err
    assert [key["name"] for key in cli("keys", "list", "--json").json["keys"]] == ["me"]
    again = fast_node(flags=("--host", "0.0.0.0"), ready=False)
    port = again.url.rpartition(":")[2]
    with socket.create_connection(("127.0.0.1", int(port)), timeout=5):
        pass
    url = f"http://127.0.0.1:{port}"
    assert cli("status", "--url", url, SKERRY_KEY=made.json["secret"]).code == 0
    assert cli("keys", "revoke", "me", "--url", url).code == 0


def test_models_are_listed_and_shown(default_cli: Cli) -> None:
    listed = default_cli("models", "list", "--json").json["models"]
    default = next(model for model in listed if model["name"] == "efficientnet-lite2")
    assert default["installed"]
    assert default["default"]
    assert "ImageNet" in default_cli("models", "show", "efficientnet-lite2").out
    assert default_cli("models", "show", "nothing").code == 1
    unknown = default_cli("models", "pull", "nothing")
    assert unknown.code == 1
    assert "efficientnet-lite2" in unknown.err


def test_the_demo_stores_ten_photos_once(default_cli: Cli) -> None:
    first = default_cli("demo", "--json")
    if "pip could not fetch" in first.err:
        pytest.skip(f"The scikit-image wheel cannot be had here: {first.err}")
    assert first.code == 0, first.err
    assert len(first.json["created"]) + first.json["stored_before"] == 10
    assert first.json["console"] == f"{default_cli.node.url}/console"
    again = default_cli("demo", "--json")
    assert again.json["created"] == []
    found = default_cli(
        "images", "list", "--uploaded-by", "demo", "--tag", "kind=texture", "--json"
    ).json
    assert {image["filename"] for image in found["images"]} == {
        "brick.png",
        "grass.png",
        "gravel.png",
    }


def test_a_model_of_ones_own_is_added_used_and_removed(
    fast_node: StartNode, fast_models: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(fast_models, models)
    cli = Cli(fast_node(models=models), tmp_path)
    onnx.save(tiny_graph(), tmp_path / "My Tiny.onnx")
    (tmp_path / "labels.txt").write_text("\n".join(f"thing {i}" for i in range(CLASSES)))
    options = ("--labels", "labels.txt", "--size", str(SIZE), "--embedding", "embedding", "--json")
    added = cli("models", "add", "My Tiny.onnx", *options)
    assert added.code == 0, added.err
    assert (added.json["name"], added.json["labels"]) == ("my-tiny", CLASSES)
    taken = cli("models", "add", "My Tiny.onnx", *options)
    assert (taken.code, "--name" in taken.err) == (1, True)
    cli("images", "add", picture(tmp_path / "x.jpg"))
    used = cli("models", "use", "my-tiny", "--json")
    assert (used.code, used.json["state"]) == (0, "done"), used.err
    recognized = cli("recognize", "x.jpg", "--json").json["results"][0]
    assert recognized["model"]["name"] == "my-tiny"
    assert recognized["similar_images"][0]["similarity_score"] > 0.99
    listed = {m["name"]: m["default"] for m in cli("models", "list", "--json").json["models"]}
    assert (listed["my-tiny"], listed["fast"]) == (True, False)
    assert cli("models", "remove", "my-tiny").code == 0
    assert cli("models", "show", "my-tiny").code == 1


def test_quantizing_says_what_it_cost_and_fails_below_what_was_asked(
    fast_models: Path, shared_node: RunningNode, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(fast_models, models)
    cli = Cli(replace(shared_node, models=models), tmp_path)
    onnx.save(tiny_graph(), tmp_path / "tiny.onnx")
    (tmp_path / "labels.txt").write_text("\n".join(f"thing {i}" for i in range(CLASSES)))
    options = ("--labels", "labels.txt", "--size", str(SIZE), "--embedding", "embedding")
    assert cli("models", "add", "tiny.onnx", *options).code == 0
    for index in range(60):
        picture(tmp_path / f"photos/{index}.jpg")
    lenient = ("--min-agreement", "0", "--min-cosine", "0")
    passed = cli("quantize", "tiny", "--data", "photos", *lenient)
    assert passed.code == 0, passed.err
    for word in ("size", "latency", "top-1 agreement", "feature cosine", "Passed"):
        assert word in passed.out
    strict = cli("quantize", "tiny", "--data", "photos", "--min-cosine", "1", "--json")
    assert (strict.code, strict.json["passed"]) == (1, False)
    few = cli("quantize", "tiny", "--data", "models")
    assert (few.code, "at least 20" in few.err) == (1, True)
